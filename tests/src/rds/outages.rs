//! The handle's methods for faults, outages and refusals.

use super::Rds;
use super::faults::{ANY, Fault, Where};

impl Rds {
    /// Lets the next `times` requests to `at` fail, or all of them if [`FOREVER`](super::FOREVER).
    ///
    /// Faults set earlier come first. While an outage covers a request, they wait.
    pub fn fail(&self, at: Where, fault: Fault, times: u32) {
        self.state().schedule.fail(at, fault, times);
    }

    /// Drops all faults set with [`Rds::fail`]. Outages go on.
    pub fn clear_faults(&self) {
        self.state().schedule.clear_faults();
    }

    /// Lets every request to `at` fail until [`Rds::end_outage`]. Replaces an outage of the same `at`.
    ///
    /// Where several outages cover a request, the one started last decides.
    pub fn start_outage(&self, at: Where, fault: Fault) {
        self.state().schedule.start_outage(at, fault);
    }

    /// Ends the outage of exactly `at`, if there is one.
    pub fn end_outage(&self, at: &Where) {
        self.state().schedule.end_outages(|outage| outage == at);
    }

    /// Ends all outages, refusals by [`Rds::deny`] and [`Rds::deny_downloads`] included.
    pub fn end_outages(&self) {
        self.state().schedule.end_outages(|_| true);
    }

    /// Answers `AccessDenied` (403) to all downloads from an instance, until [`Rds::allow`].
    pub fn deny_downloads(&self, instance: &str) {
        self.start_outage(Where::download(instance, ANY), Fault::access_denied());
    }

    /// Answers `AccessDenied` (403) to all downloads from an instance and all its listings, until [`Rds::allow`].
    pub fn deny(&self, instance: &str) {
        self.deny_downloads(instance);
        self.start_outage(Where::listing(instance), Fault::access_denied());
    }

    /// Ends [`Rds::deny`] and [`Rds::deny_downloads`].
    pub fn allow(&self, instance: &str) {
        self.end_outage(&Where::download(instance, ANY));
        self.end_outage(&Where::listing(instance));
    }

    /// Makes the whole server reachable or not, and waits until it is so.
    ///
    /// While it is unreachable, open connections are cut and new ones are refused: clients get no answer at all. The
    /// address stays the same.
    pub async fn set_reachable(&self, reachable: bool) {
        self.shared.reachable.send_replace(reachable);
        let mut reached = self.shared.reached.subscribe();
        let reached = reached.wait_for(|reached| *reached == reachable).await;
        reached.expect("the server is running");
    }

    /// How many answers are silent now, because of [`Fault::Stall`] or [`Fault::Hang`].
    pub fn stalled(&self) -> usize {
        self.shared.release.receiver_count()
    }

    /// Lets all answers that are silent now go on.
    pub fn release_stalls(&self) {
        self.shared.release.send_replace(());
    }
}
