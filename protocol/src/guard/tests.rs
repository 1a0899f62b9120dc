use super::*;
use bytes::{BufMut, BytesMut};

const CAPS: Caps = Caps { array_elements_max: 5, total_elements_max: 8, tagged_fields_max: 2 };

/// A struct with one of everything: flexible from version 1.
const EXAMPLE: Schema = Schema {
    flexible_since: 1,
    fields: &[
        schema::string("name").nullable_since(1),
        schema::bytes("blob").nullable(),
        schema::array("numbers", &Kind::Int32),
        schema::structs("parts", &[schema::int16("id"), schema::array("names", &Kind::String)]).since(1),
        schema::one("cursor", &[schema::int8("at")]).since(1).nullable(),
        schema::int64("tagged").since(1).tagged(3),
    ],
};

fn walk(version: i16, bytes: &[u8]) -> Result<usize, GuardError> {
    check(&EXAMPLE, version, bytes, &CAPS)
}

#[test]
fn a_sound_message_passes_in_both_layouts() {
    assert_eq!(walk(0, &[0, 1, b'n', 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 9]), Ok(15));
    // Name null, blob empty, no numbers, one part with the name "x", no cursor, the tagged number.
    let flexible = [0, 1, 1, 2, 0, 7, 2, 2, b'x', 0, 255, 1, 3, 8, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(walk(1, &flexible), Ok(flexible.len()));
    for length in 0..flexible.len() {
        assert!(walk(1, &flexible[..length]).is_err(), "{length}");
    }
    assert_eq!(walk(1, &[&flexible[..], &[0]].concat()), Ok(flexible.len()), "and ends before what follows");
}

#[test]
fn null_is_refused_where_the_version_does_not_allow_it() {
    assert_eq!(walk(0, &[255, 255, 0, 0]), Err(GuardError::Null { field: "name" }));
    assert_eq!(walk(0, &[255, 254, 0, 0]), Err(GuardError::BadLength { field: "name" }));
    assert_eq!(walk(1, &[0, 0, 0]), Err(GuardError::Null { field: "numbers" }));
    assert_eq!(walk(1, &[0, 0, 1, 1, 9, 0]), Err(GuardError::BadLength { field: "cursor" }));
}

#[test]
fn text_is_utf_8_or_refused() {
    assert_eq!(walk(0, &[0, 1, 0xc3, 0, 0, 0, 0, 0, 0, 0, 0]), Err(GuardError::NotUtf8 { field: "name" }));
}

#[test]
fn an_announced_count_is_measured_against_what_remains_and_against_the_caps() {
    let billions = [0, 0, 0, 0, 0, 0, 127, 255, 255, 255, 1, 2, 3];
    assert_eq!(walk(0, &billions), Err(GuardError::Truncated { field: "numbers" }));
    let six = [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 6][..], &[0; 24]].concat();
    assert_eq!(walk(0, &six), Err(GuardError::TooMany { field: "numbers", count: 6 }));
    // Five numbers, then three parts of one name each: one element too many in all.
    let mut nine = BytesMut::from(&[0, 0, 6][..]);
    nine.put_bytes(0, 20);
    nine.put_u8(4);
    for _ in 0..3 {
        nine.put_slice(&[0, 1, 2, 1, 0]);
    }
    nine.put_slice(&[255, 0]);
    assert_eq!(walk(1, &nine), Err(GuardError::TooMany { field: "names", count: 1 }));
}

#[test]
fn tagged_fields_are_counted_and_measured() {
    let until_tags = [0, 0, 1, 1, 255];
    let with = |tags: &[u8]| walk(1, &[&until_tags[..], tags].concat());
    assert!(with(&[2, 9, 1, 0, 8, 0]).is_ok(), "tags that are not known are skipped");
    assert_eq!(with(&[3, 9, 0, 9, 0, 9, 0]), Err(GuardError::TooManyTags { count: 3 }));
    assert_eq!(with(&[1, 3, 7, 0, 0, 0, 0, 0, 0, 0]), Err(GuardError::Truncated { field: "tagged" }));
    assert_eq!(with(&[1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(GuardError::BadTag { field: "tagged" }));
    assert_eq!(with(&[1, 9, 5, 0]), Err(GuardError::Truncated { field: "a tagged field" }));
    assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(GuardError::Truncated { field: "the tagged fields" }));
}

#[test]
fn every_schema_is_flexible_as_kafkas_table_says() {
    // Of the fixtures' `message-schemas.tsv`: key and first flexible version.
    let kafka = [
        (0, 9),
        (1, 12),
        (2, 6),
        (3, 9),
        (18, 3),
        (19, 5),
        (20, 4),
        (22, 2),
        (23, 4),
        (32, 4),
        (56, 0),
        (58, 0),
        (60, 0),
        (62, 0),
        (63, 0),
        (67, 0),
        (75, 0),
    ];
    for (key, flexible_since) in kafka {
        let api = crate::api::find(crate::api::ApiKey(key)).unwrap();
        assert_eq!(api.request.flexible_since, flexible_since, "{}", api.name);
        assert_eq!(api.response.flexible_since, flexible_since, "{}", api.name);
    }
}
