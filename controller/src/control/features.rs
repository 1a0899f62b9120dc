//! Pure. The levels of features that the cluster agrees on (`FeatureControlManager.updateFeatures`, KIP-584, KIP-778).

use super::configs::Refusal;
use super::draft::Draft;
use metadata::image::{METADATA_VERSION, METADATA_VERSION_LEVEL};
use metadata::record::Record;
use protocol::error_code::ErrorCode;
use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::update_features_response::UpdatableFeatureResult;
use protocol::messages::{StrBytes, UpdateFeaturesRequest, UpdateFeaturesResponse};

/// How a level may change (`FeatureUpdate.UpgradeType`).
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;
/// Before this version an answer tells of each feature.
const ONE_RESULT_SINCE: i16 = 2;

/// Finalizes levels, all that are asked for or none.
///
/// The refusal is INVALID_UPDATE_VERSION (95): a level that a node does not run at, or a downgrade that was not said to be one.
pub(super) fn update(draft: &mut Draft<'_>, request: &UpdateFeaturesRequest, version: i16) -> UpdateFeaturesResponse {
    for update in &request.feature_updates {
        if let Err((code, why)) = update_one(draft, update) {
            draft.discard();
            let message = format!("The update failed for all features since the following feature had an error: {why}");
            return UpdateFeaturesResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(message)));
        }
    }
    if request.validate_only {
        draft.discard();
    }
    let results = match version {
        ONE_RESULT_SINCE.. => Vec::new(),
        _ => {
            let result = |update: &FeatureUpdateKey| {
                UpdatableFeatureResult::default().with_feature(update.feature.clone()).with_error_message(None)
            };
            request.feature_updates.iter().map(result).collect()
        }
    };
    UpdateFeaturesResponse::default().with_error_message(None).with_results(results)
}

fn update_one(draft: &mut Draft<'_>, update: &FeatureUpdateKey) -> Result<(), Refusal> {
    let (name, level) = (update.feature.as_str(), update.max_version_level);
    let refuse = |why: &str| {
        let why = format!("Invalid update version {level} for feature {name}. {why}");
        Err((ErrorCode::InvalidUpdateVersion, why))
    };
    let upgrade_type = if update.allow_downgrade { SAFE_DOWNGRADE } else { update.upgrade_type };
    if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&upgrade_type) {
        return refuse("The controller does not support the given upgrade type.");
    }
    if level < 0 {
        return refuse("A feature version cannot be less than 0.");
    }
    if name == METADATA_VERSION && level != METADATA_VERSION_LEVEL {
        return refuse(&format!("The controller only supports versions {METADATA_VERSION_LEVEL}"));
    }
    if name != METADATA_VERSION && level != 0 {
        return refuse("The controller does not support this feature.");
    }
    for (id, broker) in draft.image().brokers() {
        let range = broker.features.get(name).map_or((0, 0), |range| (range.min, range.max));
        match range {
            (min, max) if (min..=max).contains(&level) => {}
            (_, 0) => return refuse(&format!("Broker {id} does not support this feature.")),
            (min, max) => return refuse(&format!("Broker {id} only supports versions {min}-{max}")),
        }
    }
    let current = draft.image().features.level(name).unwrap_or(0);
    if level < current && upgrade_type == UPGRADE {
        return refuse(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        );
    }
    if level > current && upgrade_type != UPGRADE {
        return refuse("Can't downgrade to a newer version.");
    }
    if level != current {
        draft.push(Record::FeatureLevel { name: name.to_owned(), level });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stories::Story;
    use crate::control::{ControlRequest, ControlResponse};

    fn told(story: &mut Story, version: i16, updates: &[(&str, i16, i8)]) -> (ErrorCode, String, usize) {
        let update = |(name, level, upgrade_type): &(&str, i16, i8)| {
            FeatureUpdateKey::default()
                .with_feature(StrBytes::from_string((*name).to_owned()))
                .with_max_version_level(*level)
                .with_upgrade_type(*upgrade_type)
        };
        let request = UpdateFeaturesRequest::default().with_feature_updates(updates.iter().map(update).collect());
        let decided = story.decide(ControlRequest::UpdateFeatures { request, version });
        let ControlResponse::UpdateFeatures(response) = decided else { panic!("another request's response") };
        let message = response.error_message.map(|message| message.to_string()).unwrap_or_default();
        let code = ErrorCode::from_code(response.error_code).expect("a code of Kafka's");
        (code, message, response.results.len())
    }

    #[test]
    fn the_level_that_is_finalized_may_be_asked_for_again() {
        let mut story = Story::with_brokers(&[], 2);
        let same = [(METADATA_VERSION, METADATA_VERSION_LEVEL, UPGRADE)];
        assert_eq!(told(&mut story, 2, &same), (ErrorCode::None, String::new(), 0));
        assert_eq!(told(&mut story, 1, &same), (ErrorCode::None, String::new(), 1));
        assert!(story.records.is_empty());
    }

    #[test]
    fn a_level_that_nobody_runs_at_is_refused_with_all_others() {
        let mut story = Story::with_brokers(&[], 1);
        let same = (METADATA_VERSION, METADATA_VERSION_LEVEL, UPGRADE);
        let cases = [
            (METADATA_VERSION, METADATA_VERSION_LEVEL + 1, UPGRADE),
            (METADATA_VERSION, METADATA_VERSION_LEVEL - 1, SAFE_DOWNGRADE),
            (METADATA_VERSION, -1, UPGRADE),
            (METADATA_VERSION, METADATA_VERSION_LEVEL, 0),
            ("group.version", 1, UPGRADE),
        ];
        let all: Vec<String> = cases
            .into_iter()
            .map(|case| {
                let (code, why, results) = told(&mut story, 1, &[same, case]);
                assert_eq!((code, results), (ErrorCode::InvalidUpdateVersion, 0));
                why.rsplit(": ").next().expect("a text").to_owned()
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"), @"
        Invalid update version 28 for feature metadata.version. The controller only supports versions 27
        Invalid update version 26 for feature metadata.version. The controller only supports versions 27
        Invalid update version -1 for feature metadata.version. A feature version cannot be less than 0.
        Invalid update version 27 for feature metadata.version. The controller does not support the given upgrade type.
        Invalid update version 1 for feature group.version. The controller does not support this feature.
        ");
        assert!(story.records.is_empty());
    }
}
