//! Pure. A decision being made: the records so far, and the image as it will be with them.
//!
//! Whatever is decided later in the same batch sees what was decided earlier: a topic named twice exists the second
//! time, and the next record's offset is known, so that a registration's epoch can be told.

use metadata::config::{ElectionConfig, Properties};
use metadata::delta::Delta;
use metadata::image::Image;
use metadata::record::Record;
use protocol::ids::MetadataOffset;

/// See the module.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    delta: Delta,
    records: Vec<Record>,
    properties: &'a Properties,
}

impl<'a> Draft<'a> {
    /// Nothing decided yet.
    pub fn new(image: &Image, properties: &'a Properties) -> Self {
        Self { delta: Delta::new(image), records: Vec::new(), properties }
    }

    /// The image with everything decided so far.
    pub fn image(&self) -> &Image {
        self.delta.image()
    }

    /// This controller's static settings.
    pub fn properties(&self) -> &'a Properties {
        self.properties
    }

    /// The offset that the next record will have.
    pub fn next_offset(&self) -> MetadataOffset {
        self.image().offset()
    }

    /// What a topic's settings say about its elections.
    pub fn election_config(&self, topic: &str) -> ElectionConfig {
        ElectionConfig::resolve(self.image(), self.properties, topic)
    }

    /// Decides one record more.
    pub fn push(&mut self, record: Record) {
        self.delta.apply(&record);
        self.records.push(record);
    }

    /// How many records were decided.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Forgets the records: it was only asked whether it would work.
    pub fn discard(&mut self) {
        self.records.clear();
    }

    /// Forgets the records if it was only asked whether it would work.
    pub fn discard_if(&mut self, only_asked: bool) {
        if only_asked {
            self.discard();
        }
    }

    /// The batch.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }
}
