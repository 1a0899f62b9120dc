//! Pure. The feature levels that the cluster has finalized (KIP-584): what every node may rely on.

use crate::record::FeatureRange;
use imbl::OrdMap;

/// The feature that says how far the metadata's own format has come (KIP-778).
pub const METADATA_VERSION: &str = "metadata.version";
/// The level of [`METADATA_VERSION`] that a new cluster is finalized at: Kafka's number for 4.1 (`MetadataVersion.IBP_4_1_IV1`).
pub const METADATA_VERSION_LEVEL: i16 = 27;
/// The levels of [`METADATA_VERSION`] that a node of this build can run at, broker or controller: one, for no record that a
/// newer level brought is left out at an older one.
pub const METADATA_VERSION_RANGE: FeatureRange =
    FeatureRange { min: METADATA_VERSION_LEVEL, max: METADATA_VERSION_LEVEL };

/// The finalized levels. A feature that is not here is not finalized.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeaturesImage {
    levels: OrdMap<String, i16>,
}

impl FeaturesImage {
    /// The finalized level of a feature.
    pub fn level(&self, name: &str) -> Option<i16> {
        self.levels.get(name).copied()
    }

    /// Every finalized feature, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i16)> {
        self.levels.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// Whether no feature is finalized: the cluster was never bootstrapped.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Sets a level; zero takes it back.
    pub(crate) fn set(&mut self, name: &str, level: i16) {
        match level {
            0 => self.levels.remove(name),
            _ => self.levels.insert(name.to_owned(), level),
        };
    }
}
