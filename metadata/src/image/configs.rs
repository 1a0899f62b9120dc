//! Pure. The dynamic settings: of topics, of one broker, of all brokers.

use crate::record::ConfigResource;
use imbl::OrdMap;
use std::collections::BTreeMap;

/// Every dynamic setting. A resource without settings is not here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigsImage {
    by_resource: OrdMap<ConfigResource, BTreeMap<String, String>>,
}

impl ConfigsImage {
    /// The value of one dynamic setting.
    pub fn get(&self, resource: &ConfigResource, name: &str) -> Option<&str> {
        self.by_resource.get(resource)?.get(name).map(String::as_str)
    }

    /// The dynamic settings of a resource, in the order of keys.
    pub fn of(&self, resource: &ConfigResource) -> impl Iterator<Item = (&str, &str)> {
        self.by_resource.get(resource).into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every resource with its settings.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &BTreeMap<String, String>)> {
        self.by_resource.iter()
    }

    pub(crate) fn set(&mut self, resource: &ConfigResource, name: &str, value: &str) {
        self.by_resource.entry(resource.clone()).or_default().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, resource: &ConfigResource, name: &str) {
        if let Some(settings) = self.by_resource.get_mut(resource) {
            settings.remove(name);
            if settings.is_empty() {
                self.by_resource.remove(resource);
            }
        }
    }

    /// Takes back every setting of a resource; says whether there were any.
    pub(crate) fn clear(&mut self, resource: &ConfigResource) -> bool {
        self.by_resource.remove(resource).is_some()
    }

    pub(crate) fn insert(&mut self, resource: ConfigResource, settings: BTreeMap<String, String>) {
        self.by_resource.insert(resource, settings);
    }

    /// The resources whose settings differ.
    pub(crate) fn changed_since(&self, old: &Self) -> Vec<ConfigResource> {
        super::topics::changed_keys(&old.by_resource, &self.by_resource)
    }
}
