//! A DB instance, as the rest of the product needs to know it.

/// One DB instance. `resource_id` is its identity: names are reused, resource ids are not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance {
    /// `DbiResourceId`, e.g. `db-ABCDEFGHIJKLMNOPQRSTUVWXYZ`.
    pub resource_id: String,
    /// `DBInstanceIdentifier`, which is what RDS wants to be asked by.
    pub name: String,
    /// The cluster's identifier; for a standalone instance its own name.
    pub cluster: String,
    /// The twelve-digit AWS account.
    pub account: String,
    /// The AWS region, e.g. `eu-central-1`.
    pub region: String,
}

impl Instance {
    /// Whether one of the words is its name, in any case as RDS has it, or its resource id.
    pub fn is_one_of(&self, words: &[String]) -> bool {
        words
            .iter()
            .any(|word| self.name.eq_ignore_ascii_case(word) || self.resource_id == *word)
    }
}
