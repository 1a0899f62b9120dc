//! Pure. Settings of topics and brokers are changed: one by one, or all at once.
//!
//! As `ConfigurationControlManager`, `ControllerConfigurationValidator` and, for what Kafka leaves to the broker that was
//! asked, `ConfigAdminManager`. Each resource of a request succeeds or fails alone, and as a whole.

use super::configs::Refusal;
use super::draft::Draft;
use super::partitions;
use metadata::config::keys::{self, Kind, Scope};
use metadata::config::values::parse_list;
use metadata::config::{dynamic, topic};
use metadata::image::Image;
use metadata::record::{ConfigResource, Record};
use protocol::error_code::ErrorCode;
use protocol::ids::BrokerId;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    StrBytes, alter_configs_request, alter_configs_response, incremental_alter_configs_request,
    incremental_alter_configs_response,
};
use protocol::topic_name;
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of resources on the wire (`ConfigResource.Type`).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// The longest value that a setting may have, in bytes (`ConfigurationControlManager`).
const VALUE_BYTES_MAX: usize = i16::MAX as usize;
/// Settings that say which replicas are eligible, and who may lead.
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

/// What is to become of one setting (`AlterConfigOp.OpType`).
enum Change<'a> {
    Set(&'a str),
    Delete,
    Append(&'a str),
    Subtract(&'a str),
}

/// One resource of a request, whichever API it came by.
struct Asked<'a> {
    resource_type: i8,
    name: &'a str,
    changes: Vec<(&'a str, Result<Change<'a>, Fault>)>,
    /// Whether what is not named is taken back.
    replaces: bool,
}

/// Why a change is none.
#[derive(Clone, Copy)]
enum Fault {
    /// It has no value.
    Null,
    /// There is no such operation.
    Operation(i8),
}

/// Replaces all settings of resources by those that are given (`legacyAlterConfigs`).
///
/// A resource's refusal is one of INVALID_REQUEST (42), INVALID_TOPIC_EXCEPTION (17), INVALID_CONFIG (40),
/// UNKNOWN_TOPIC_OR_PARTITION (3), BROKER_ID_NOT_REGISTERED (102).
pub(super) fn replace(draft: &mut Draft<'_>, request: &AlterConfigsRequest) -> AlterConfigsResponse {
    let asked: Vec<Asked<'_>> = request.resources.iter().map(asked_to_replace).collect();
    let response = |asked: &Asked<'_>, code: ErrorCode, message: Option<StrBytes>| {
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(StrBytes::from_string(asked.name.to_owned()))
            .with_error_code(code.code())
            .with_error_message(message)
    };
    AlterConfigsResponse::default().with_responses(alter_all(draft, &asked, response))
}

/// Changes single settings of resources (`incrementalAlterConfigs`, KIP-339); refusals as [`replace`]'s.
pub(super) fn change(
    draft: &mut Draft<'_>,
    request: &IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked: Vec<Asked<'_>> = request.resources.iter().map(asked_to_change).collect();
    let response = |asked: &Asked<'_>, code: ErrorCode, message: Option<StrBytes>| {
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(StrBytes::from_string(asked.name.to_owned()))
            .with_error_code(code.code())
            .with_error_message(message)
    };
    IncrementalAlterConfigsResponse::default().with_responses(alter_all(draft, &asked, response))
}

fn asked_to_replace(resource: &alter_configs_request::AlterConfigsResource) -> Asked<'_> {
    let changes = resource.configs.iter().map(|config| {
        let change = config.value.as_ref().map(|value| Change::Set(value.as_str()));
        (config.name.as_str(), change.ok_or(Fault::Null))
    });
    let name = resource.resource_name.as_str();
    Asked { resource_type: resource.resource_type, name, changes: changes.collect(), replaces: true }
}

fn asked_to_change(resource: &incremental_alter_configs_request::AlterConfigsResource) -> Asked<'_> {
    let changes = resource.configs.iter().map(|config| {
        let change = match (config.config_operation, config.value.as_ref().map(|value| value.as_str())) {
            (1, _) => Ok(Change::Delete),
            (_, None) => Err(Fault::Null),
            (0, Some(value)) => Ok(Change::Set(value)),
            (2, Some(value)) => Ok(Change::Append(value)),
            (3, Some(value)) => Ok(Change::Subtract(value)),
            (other, Some(_)) => Err(Fault::Operation(other)),
        };
        (config.name.as_str(), change)
    });
    let name = resource.resource_name.as_str();
    Asked { resource_type: resource.resource_type, name, changes: changes.collect(), replaces: false }
}

/// Alters each resource and shapes its outcome. One that is named twice is refused both times.
fn alter_all<T>(
    draft: &mut Draft<'_>,
    asked: &[Asked<'_>],
    response: impl Fn(&Asked<'_>, ErrorCode, Option<StrBytes>) -> T,
) -> Vec<T> {
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for asked in asked {
        *times.entry((asked.resource_type, asked.name)).or_default() += 1;
    }
    let mut alter = |asked: &Asked<'_>| {
        if times[&(asked.resource_type, asked.name)] > 1 {
            return Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned()));
        }
        alter_one(draft, asked)
    };
    asked
        .iter()
        .map(|asked| match alter(asked) {
            Ok(()) => response(asked, ErrorCode::None, None),
            Err((code, message)) => response(asked, code, Some(StrBytes::from_string(message))),
        })
        .collect()
}

fn alter_one(draft: &mut Draft<'_>, asked: &Asked<'_>) -> Result<(), Refusal> {
    let changes = sound_changes(asked)?;
    let resource = read_resource(asked)?;
    let before: BTreeMap<String, String> =
        draft.image().configs.of(&resource).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut after = if asked.replaces { BTreeMap::new() } else { before.clone() };
    for (name, change) in changes {
        match changed(&resource, name, change, after.get(name).map(String::as_str))? {
            Some(value) => after.insert(name.to_owned(), value),
            None => after.remove(name),
        };
    }
    check_min_insync_replicas(&resource, asked, &before, &after)?;
    match &resource {
        ConfigResource::Topic(_) => {
            topic::validate(&after).map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
        }
        // A broker's refusal is an INVALID_REQUEST in Kafka, too (KAFKA-13609).
        ConfigResource::Broker(_) => {
            dynamic::validate(&after).map_err(|error| (ErrorCode::InvalidRequest, error.to_string()))?;
        }
    }
    check_exists(draft.image(), &resource)?;
    record(draft, &resource, &before, &after);
    Ok(())
}

/// The changes of a resource, each key once and each with what it needs (`ConfigAdminManager.preprocess`).
fn sound_changes<'a>(asked: &'a Asked<'a>) -> Result<Vec<(&'a str, &'a Change<'a>)>, Refusal> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    let names: BTreeSet<&str> = asked.changes.iter().map(|(name, _)| *name).collect();
    if names.len() < asked.changes.len() {
        return invalid("Error due to duplicate config keys".to_owned());
    }
    let without_value =
        |(name, change): &(&'a str, Result<Change<'a>, Fault>)| matches!(change, Err(Fault::Null)).then_some(*name);
    let nulls: Vec<&str> = asked.changes.iter().filter_map(without_value).collect();
    if !nulls.is_empty() {
        return invalid(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    let mut sound = Vec::with_capacity(asked.changes.len());
    for (name, change) in &asked.changes {
        match change {
            Ok(change) => sound.push((*name, change)),
            Err(Fault::Operation(other)) => return invalid(format!("Unknown operations type {other}")),
            Err(Fault::Null) => unreachable!("{name} was refused above"),
        }
    }
    Ok(sound)
}

fn read_resource(asked: &Asked<'_>) -> Result<ConfigResource, Refusal> {
    let invalid = |message: &str| Err((ErrorCode::InvalidRequest, message.to_owned()));
    match (asked.resource_type, asked.name) {
        (TOPIC, "") => invalid("Default topic resources are not allowed."),
        (TOPIC, name) => match topic_name::validate(name) {
            Ok(()) => Ok(ConfigResource::Topic(name.to_owned())),
            Err(why) => Err((ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}"))),
        },
        (BROKER, "") => Ok(ConfigResource::Broker(None)),
        (BROKER, name) => match name.parse::<i32>() {
            Ok(id) if id < 0 => invalid("Invalid negative broker ID."),
            Ok(id) => Ok(ConfigResource::Broker(Some(BrokerId(id)))),
            Err(_) => invalid("Unable to parse broker name as a base 10 number."),
        },
        (other, _) => invalid(&format!("Unknown resource type {other}")),
    }
}

/// The value that a setting is to have, or none. What is appended is not there twice, and what is subtracted need not be
/// there; both begin at the key's default where there is no value.
fn changed(
    resource: &ConfigResource,
    name: &str,
    change: &Change<'_>,
    current: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let (operation, given) = match change {
        Change::Delete => return Ok(None),
        Change::Set(value) => return fits((*value).to_owned()).map(Some),
        Change::Append(given) => ("APPEND", given),
        Change::Subtract(given) => ("SUBTRACT", given),
    };
    let scope = match resource {
        ConfigResource::Topic(_) => Scope::Topic,
        ConfigResource::Broker(_) => Scope::Broker,
    };
    let Some(key) = keys::find(scope, name).filter(|key| key.kind == Kind::List) else {
        let why = format!("Can't {operation} to key {name} because its type is not LIST.");
        return Err((ErrorCode::InvalidConfig, why));
    };
    let mut parts: Vec<&str> = parse_list(current.or(key.default).unwrap_or_default()).collect();
    for part in parse_list(given) {
        let at = parts.iter().position(|known| *known == part);
        match (change, at) {
            (Change::Append(_), None) => parts.push(part),
            (Change::Subtract(_), Some(at)) => drop(parts.remove(at)),
            (Change::Append(_) | Change::Subtract(_) | Change::Set(_) | Change::Delete, _) => {}
        }
    }
    fits(parts.join(",")).map(Some)
}

fn fits(value: String) -> Result<String, Refusal> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(value);
    }
    let why = format!(
        "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
    );
    Err((ErrorCode::InvalidConfig, why))
}

/// Who is eligible to lead follows from one `min.insync.replicas` a topic, which every node must know: no single broker
/// has one of its own, and the one of all brokers stays once it is given (KIP-966).
fn check_min_insync_replicas(
    resource: &ConfigResource,
    asked: &Asked<'_>,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let named = asked.changes.iter().any(|(name, _)| *name == MIN_INSYNC_REPLICAS);
    let removed = before.contains_key(MIN_INSYNC_REPLICAS) && !after.contains_key(MIN_INSYNC_REPLICAS);
    let refuse = |why: &str| Err((ErrorCode::InvalidConfig, format!("{why} while ELR is enabled.")));
    match resource {
        ConfigResource::Broker(Some(_)) if named => refuse("Broker-level min.insync.replicas cannot be altered"),
        ConfigResource::Broker(None) if removed => refuse("Cluster-level min.insync.replicas cannot be removed"),
        ConfigResource::Broker(_) | ConfigResource::Topic(_) => Ok(()),
    }
}

fn check_exists(image: &Image, resource: &ConfigResource) -> Result<(), Refusal> {
    match resource {
        ConfigResource::Topic(name) if image.topic_by_name(name).is_none() => {
            Err((ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist.")))
        }
        ConfigResource::Broker(Some(id)) if image.broker(*id).is_none() => {
            Err((ErrorCode::BrokerIdNotRegistered, format!("No broker with id {id} found.")))
        }
        ConfigResource::Topic(_) | ConfigResource::Broker(_) => Ok(()),
    }
}

/// Records what differs, and what follows from it: who is no longer eligible is forgotten *before* fewer replicas are
/// enough, and a partition that anybody may lead from now on gets a leader at once.
fn record(
    draft: &mut Draft<'_>,
    resource: &ConfigResource,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let records: Vec<Record> = differing
        .map(|name| Record::Config { resource: resource.clone(), name: name.clone(), value: after.get(name).cloned() })
        .collect();
    let changes = |key: &str| records.iter().any(|record| matches!(record, Record::Config { name, .. } if name == key));
    let (min_insync_replicas, unclean_election) = (changes(MIN_INSYNC_REPLICAS), changes(UNCLEAN_ELECTION));
    if min_insync_replicas {
        partitions::settle_eligible_before(draft, &records);
    }
    for record in records {
        draft.push(record);
    }
    if unclean_election {
        partitions::elect_missing_leaders(draft);
    }
}

#[cfg(test)]
mod tests;
