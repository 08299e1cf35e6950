//! Checks the vectors of a folder, ../golden if none is given, with buffa, prost and prost-protovalidate. It prints a line
//! for each: library, what was checked, codecs and result, with tabs between them.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

use base64::prelude::{BASE64_STANDARD, Engine};
use interop::messages::gitpod::v1 as buffa_v1;
use interop::{gitpod_v1, rules};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Deserialize, Serialize};
use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn error::Error>>;

/// An entry of either file. The README of the folder says what it has.
#[derive(Deserialize)]
struct Vector {
    name: String,
    r#type: String,
    json: Value,
    #[serde(default)]
    binary: String,
    #[serde(default)]
    other_json: Vec<Value>,
    #[serde(default)]
    other_binary: Vec<String>,
    #[serde(default)]
    violations: Vec<String>,
}

/// How a library reads a type of message from each form, and writes it in both.
struct Forms {
    from_binary: fn(&[u8]) -> Outcome<Both>,
    from_json: fn(&Value) -> Outcome<Both>,
}

/// A message in binary and in JSON.
type Both = (Vec<u8>, Value);

/// The types of the vectors, and how a library reads and writes each.
macro_rules! forms {
    ($library:ident, $messages:ident) => {
        forms!($library, $messages, CreateSecretRequest CreateSecretResponse UpdateSecretValueRequest
            UpdateSecretValueResponse ListSecretsRequest ListSecretsResponse DeleteSecretRequest DeleteSecretResponse
            GetSecretValueRequest GetSecretValueResponse)
    };
    ($library:ident, $messages:ident, $($name:ident)*) => {
        |name: &str| match name.strip_prefix("gitpod.v1.") {
            $(Some(stringify!($name)) => Ok($library::<$messages::$name>()),)*
            _ => Err(format!("no type {name}")),
        }
    };
}

fn main() {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or("../golden".into()));
    let (vectors, inputs) = (folder.join("messages.json"), folder.join("rules.json"));
    let of_buffa = forms!(buffa, buffa_v1);
    let of_prost = forms!(prost, gitpod_v1);
    let buffa = check(&vectors, |each| check_message(each, &of_buffa(&each.r#type)?));
    let prost = check(&vectors, |each| check_message(each, &of_prost(&each.r#type)?));
    println!("buffa\tgolden messages\tbinary+json\t{buffa}");
    println!("prost\tgolden messages\tbinary+json\t{prost}");
    println!("prost-protovalidate\tgolden rules\tjson\t{}", check(&inputs, check_rules));
}

fn buffa<M: buffa::Message + Serialize + DeserializeOwned>() -> Forms {
    fn both<M: buffa::Message + Serialize>(message: &M) -> Outcome<Both> {
        Ok((message.encode_to_vec(), serde_json::to_value(message)?))
    }
    Forms {
        from_binary: |binary| both(&M::decode_from_slice(binary)?),
        from_json: |json| both(&serde_json::from_value::<M>(json.clone())?),
    }
}

/// prost has no JSON of its own. prost-reflect has it, by the schema.
fn prost<M: prost::Message + prost::Name + Default>() -> Forms {
    fn both<M: prost::Message + prost::Name>(message: &M) -> Outcome<Both> {
        let binary = message.encode_to_vec();
        let json = serde_json::to_value(DynamicMessage::decode(rules::descriptor(&M::full_name()), &*binary)?)?;
        Ok((binary, json))
    }
    Forms {
        from_binary: |binary| both(&M::decode(binary)?),
        from_json: |json| both(&from_json(&M::full_name(), json)?.transcode_to::<M>()?),
    }
}

fn from_json(name: &str, json: &Value) -> Outcome<DynamicMessage> {
    Ok(rules::descriptor(name).deserialize(json)?)
}

/// Returns "ok", or what differs in the first vector that does, and how many do.
fn check(file: &Path, check: impl Fn(&Vector) -> Outcome) -> String {
    let read = || -> Outcome<Vec<Vector>> { Ok(serde_json::from_slice(&fs::read(file)?)?) };
    let vectors = match read() {
        Ok(vectors) if vectors.is_empty() => return "no vectors".into(),
        Ok(vectors) => vectors,
        Err(error) => return format!("{}: {error}", file.display()),
    };
    let wrong = |each: &Vector| check(each).err().map(|error| format!("{}: {error}", each.name));
    let failures: Vec<String> = vectors.iter().filter_map(wrong).collect();
    match failures.first() {
        None => "ok".into(),
        Some(first) => format!("{} of {} differ: {first}", failures.len(), vectors.len()),
    }
}

/// Reads and writes a message in each of its forms.
fn check_message(each: &Vector, forms: &Forms) -> Outcome {
    let (binary, json) = (forms.from_binary)(&BASE64_STANDARD.decode(&each.binary)?)?;
    if json != each.json {
        return Err("binary: has another JSON form".into());
    }
    for form in [&each.json].into_iter().chain(&each.other_json) {
        if (forms.from_json)(form)?.0 != binary {
            return Err("json: has another binary form".into());
        }
    }
    for form in &each.other_binary {
        if (forms.from_binary)(&BASE64_STANDARD.decode(form)?)?.1 != each.json {
            return Err("other_binary: has another JSON form".into());
        }
    }
    Ok(())
}

/// Reads an input and looks for the rules that it breaks.
fn check_rules(each: &Vector) -> Outcome {
    let message = from_json(&each.r#type, &each.json)?;
    let broken = rules::broken_by(&each.r#type, &message.encode_to_vec());
    if broken != each.violations {
        return Err(format!("breaks [{}]", broken.join(", ")).into());
    }
    Ok(())
}
