//! The wire types, generated from `proto/protoguard/v1/*.proto`.

include!("generated/protoguard.v1.rs");
