//! The rules of the contract: those that a message breaks, and those that an error names.

use std::sync::LazyLock;

use prost_protovalidate::types::field_path_element::Subscript;
use prost_protovalidate::types::{DESCRIPTOR_POOL, FieldPath, FieldPathElement, Violations};
use prost_protovalidate::{Error, Validator};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use crate::gitpod_v1::FILE_DESCRIPTOR_SET;

/// The contract's messages, with buf.validate, which they import.
static SCHEMA: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut schema = DESCRIPTOR_POOL.clone();
    schema.decode_file_descriptor_set(FILE_DESCRIPTOR_SET).expect("the stubs hold their schema");
    schema
});

/// A validator keeps the rules that it has compiled, so one serves the whole program.
static VALIDATOR: LazyLock<Validator> = LazyLock::new(Validator::new);

/// Returns the rules that a message breaks. It takes the message in binary, which prost and buffa both write.
pub fn broken_by(message: &str, binary: &[u8]) -> Vec<String> {
    let message = DynamicMessage::decode(descriptor(message), binary).expect("a library has just written it");
    match VALIDATOR.validate(&message) {
        Ok(()) => Vec::new(),
        Err(Error::Validation(error)) => names(&error.to_proto()),
        Err(error) => vec![error.to_string()],
    }
}

/// Returns what the schema says about a message of the contract.
pub fn descriptor(message: &str) -> MessageDescriptor {
    SCHEMA.get_message_by_name(message).expect("the contract has the message")
}

/// Returns each field and the rule that it breaks, in the order of the alphabet.
pub fn names(violations: &Violations) -> Vec<String> {
    let mut names: Vec<String> =
        violations.violations.iter().map(|each| format!("{} {}", path(each.field.as_ref()), each.rule_id())).collect();
    names.sort();
    names
}

fn path(field: Option<&FieldPath>) -> String {
    let elements = field.map_or(&[][..], |field| &field.elements);
    elements.iter().map(element).collect::<Vec<_>>().join(".")
}

/// The only fields of the contract with many values are lists.
fn element(element: &FieldPathElement) -> String {
    match element.subscript {
        Some(Subscript::Index(index)) => format!("{}[{index}]", element.field_name()),
        _ => element.field_name().into(),
    }
}
