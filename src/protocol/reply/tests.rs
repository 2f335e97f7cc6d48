use super::*;
use crate::protocol::tests::legal_reply;
use proptest::prelude::*;

const FIELDS: [Field; 14] = [
    Field::Id,
    Field::Hash,
    Field::Timestamp,
    Field::Status,
    Field::Voltage,
    Field::Freq,
    Field::Seq,
    Field::DeviceName,
    Field::Ssid,
    Field::Email,
    Field::Token,
    Field::Wait,
    Field::ExtraKey,
    Field::ExtraValue,
];

const FAULTS: [Fault; 20] = [
    Fault::NotInteger,
    Fault::NotI64,
    Fault::NotPositive,
    Fault::NotNumber,
    Fault::NotDouble,
    Fault::NotBool,
    Fault::NotString,
    Fault::NotSeconds,
    Fault::NotWait,
    Fault::NotShort,
    Fault::LongEmail,
    Fault::NotEmail,
    Fault::Control,
    Fault::Nul,
    Fault::Surrogate,
    Fault::Twice,
    Fault::TooBig,
    Fault::TooDeep,
    Fault::NeedsTimestamp,
    Fault::NeedsClock,
];

const SYNTAX: [Syntax; 13] = [
    Syntax::EndsEarly,
    Syntax::Trailing,
    Syntax::ExpectedKey,
    Syntax::ExpectedColon,
    Syntax::ExpectedCommaOrBrace,
    Syntax::ExpectedCommaOrBracket,
    Syntax::TrailingComma,
    Syntax::ExpectedValue,
    Syntax::ExpectedLiteral,
    Syntax::Number,
    Syntax::Escape,
    Syntax::Control,
    Syntax::Other,
];

/// `i64::MIN` and `usize::MAX` are the longest there are, and always among them.
fn refusals() -> impl Strategy<Value = Refusal> {
    let integer = || prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()];
    let column = || prop_oneof![Just(usize::MAX), any::<usize>()];
    let field = || prop::sample::select(FIELDS.to_vec());
    prop_oneof![
        prop::sample::select(vec![
            Refusal::MissingDevice,
            Refusal::Rejected,
            Refusal::Unavailable,
            Refusal::Busy,
            Refusal::TooManyHeld,
            Refusal::LineTooLong,
            Refusal::Http,
            Refusal::ByteOrderMark,
        ]),
        any::<u64>().prop_map(|seconds| Refusal::TooManyQueries { seconds }),
        integer().prop_map(Refusal::UnknownId),
        integer().prop_map(Refusal::UnknownHash),
        integer().prop_map(Refusal::NotThisDevice),
        integer().prop_map(Refusal::SeqConflict),
        (integer(), integer()).prop_map(|(id, hash)| Refusal::IdAndHashDisagree { id, hash }),
        column().prop_map(|column| Refusal::NotUtf8 { column }),
        column().prop_map(|column| Refusal::NotAnObject { column }),
        field().prop_map(Refusal::Missing),
        (prop::sample::select(SYNTAX.to_vec()), prop::option::of(field()), column())
            .prop_map(|(fault, near, column)| Refusal::Json { fault, near, column }),
        (field(), prop::sample::select(FAULTS.to_vec()), column())
            .prop_map(|(field, fault, column)| Refusal::Field { field, fault, column }),
    ]
}

proptest! {
    #[test]
    fn every_refusal_is_one_short_line_of_printable_ascii(refusal in refusals()) {
        legal_reply(&refusal);
    }
}

#[test]
fn every_pair_of_field_and_fault_fits() {
    for field in FIELDS {
        for fault in FAULTS {
            legal_reply(&Refusal::Field { field, fault, column: usize::MAX });
        }
        for fault in SYNTAX {
            legal_reply(&Refusal::Json { fault, near: Some(field), column: usize::MAX });
        }
    }
}

#[test]
fn the_words_are_those_users_know() {
    let table = [
        (Refusal::UnknownId(17), "!OK unknown id 17"),
        (Refusal::UnknownHash(-3), "!OK unknown hash -3"),
        (Refusal::IdAndHashDisagree { id: 1, hash: 2 }, "!OK id 1 and hash 2 are not the same device"),
        (Refusal::MissingDevice, "!OK id or hash is missing"),
        (Refusal::NotThisDevice(5), "!OK id 5 is not this device's"),
        (Refusal::SeqConflict(17), "!OK seq 17 was stored with other values"),
        (Refusal::Rejected, "!OK the database refused these values"),
        (Refusal::Unavailable, "!OK database unavailable, try again"),
        (Refusal::Busy, "!OK busy, try again"),
        (Refusal::LineTooLong, "!OK line too long"),
        (Refusal::TooManyQueries { seconds: 2 }, "!OK too many queries, try again in 2 s"),
        (Refusal::TooManyHeld, "!OK too many queries are held already, ask without wait"),
    ];
    for (refusal, reply) in table {
        assert_eq!(legal_reply(&refusal), reply);
    }
}

#[test]
fn limits_in_words_are_the_limits_in_force() {
    use crate::protocol::{confo, extra, packet};
    for (fault, limit) in [
        (Fault::TooBig, extra::MAX_BYTES.to_string()),
        (Fault::TooDeep, extra::MAX_LEVELS.to_string()),
        (Fault::NotSeconds, packet::LATEST_TIMESTAMP.to_string()),
        (Fault::NotShort, confo::MAX_NAME_BYTES.to_string()),
        (Fault::LongEmail, confo::MAX_EMAIL_CHARS.to_string()),
        (Fault::NotWait, confo::MAX_WAIT_SECONDS.to_string()),
    ] {
        assert!(fault.to_string().contains(&limit), "{fault}");
    }
}
