//! The handle's methods for clusters and instances.

use super::Rds;
use super::inventory::{NewCluster, NewInstance, Tags, Taken};

impl Rds {
    /// Adds a cluster without members.
    pub fn add_cluster(&self, cluster: NewCluster) {
        self.state().inventory.add_cluster(cluster);
    }

    /// Removes a cluster. Its members stay, and still name it.
    pub fn remove_cluster(&self, id: &str) {
        let clusters = &mut self.state().inventory.clusters;
        clusters.retain(|cluster| cluster.id != id);
    }

    /// Replaces the tags of a cluster.
    pub fn set_cluster_tags(&self, id: &str, tags: Tags) {
        self.state().inventory.cluster(id).tags = tags;
    }

    /// Adds an instance, `available`, created years ago and without log files; returns its `DbiResourceId`.
    pub fn add_instance(&self, instance: NewInstance) -> String {
        self.state().inventory.add_instance(instance)
    }

    /// The `DbiResourceId` of an instance.
    pub fn resource_id(&self, name: &str) -> String {
        self.state().inventory.instance(name).resource_id.clone()
    }

    /// Removes an instance with its log files.
    pub fn remove_instance(&self, name: &str) {
        self.state()
            .inventory
            .instances
            .retain(|instance| instance.name != name);
    }

    /// Removes an instance, keeping it for [`Rds::put_back`].
    pub fn take_away(&self, name: &str) -> Taken {
        self.state().inventory.take_away(name)
    }

    /// Restores an instance unchanged.
    pub fn put_back(&self, taken: Taken) {
        self.state().inventory.put_back(taken);
    }

    /// Renames an instance; its resource id stays.
    pub fn rename_instance(&self, name: &str, new_name: &str) {
        new_name.clone_into(&mut self.state().inventory.instance(name).name);
    }

    /// Sets `DBInstanceStatus`.
    ///
    /// Requests for the logs of a `creating` instance answer `DBInstanceNotFound`, of a `paused` one
    /// `DBInstanceNotReady`; instances of any other status, such as `deleting`, list and serve. Combine with
    /// [`Rds::pause`] for an instance of another status that is not ready.
    pub fn set_instance_status(&self, name: &str, status: &str) {
        self.state().inventory.instance(name).status = status.into();
    }

    /// Pauses an instance as Aurora Serverless v2 does at zero capacity, until [`Rds::resume`].
    ///
    /// `DescribeDBInstances` still reports its status unchanged; listings and downloads answer `DBInstanceNotReady`
    /// (400), whatever the status.
    pub fn pause(&self, name: &str) {
        self.state().inventory.instance(name).paused = true;
    }

    /// Ends [`Rds::pause`].
    pub fn resume(&self, name: &str) {
        self.state().inventory.instance(name).paused = false;
    }

    /// Sets `InstanceCreateTime` (ms); `None` leaves it out, as RDS does while it creates the instance.
    pub fn set_created(&self, name: &str, created_ms: Option<i64>) {
        self.state().inventory.instance(name).created_ms = created_ms;
    }

    /// Replaces the tags of an instance.
    pub fn set_instance_tags(&self, name: &str, tags: Tags) {
        self.state().inventory.instance(name).tags = tags;
    }

    /// Sets `Engine` of an instance, such as `postgres`.
    pub fn set_engine(&self, name: &str, engine: &str) {
        engine.clone_into(&mut self.state().inventory.instance(name).engine);
    }

    /// Moves an instance into a cluster; `None` leaves `DBClusterIdentifier` out.
    pub fn set_cluster(&self, name: &str, cluster: Option<&str>) {
        self.state().inventory.instance(name).cluster = cluster.map(str::to_owned);
    }
}
