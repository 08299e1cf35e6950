//! What each client does, whatever its library and protocol.

use std::time::Duration;

use tonic::Code;
use uuid::Uuid;

/// The service as both libraries offer it. The messages of prost and those of buffa are different types, so each
/// implementation builds its own.
pub trait Secrets {
    /// Stores a secret and returns its id.
    async fn create(&self, secret: &NewSecret) -> Result<String, Failure>;

    /// Returns the ids of a page of a project's secrets, and the token of the next page, which is empty after the last.
    async fn list(&self, project: Uuid, page: &Page) -> Result<(Vec<String>, String), Failure>;

    /// Returns a secret's value.
    async fn value(&self, id: &str) -> Result<String, Failure>;

    /// Replaces a secret's value.
    async fn update(&self, id: &str, value: &str) -> Result<(), Failure>;

    /// Removes a secret.
    async fn delete(&self, id: &str) -> Result<(), Failure>;

    /// Returns the rules that the request of `create` would break, without sending it.
    fn broken_rules(&self, secret: &NewSecret) -> Vec<String>;
}

/// A library in one protocol and codec.
pub trait Client {
    type Secrets: Secrets;

    /// Returns the service, called with a token, and with gzip if `compress` is true.
    fn open(&self, token: &str, compress: bool) -> Self::Secrets;
}

#[derive(Clone)]
pub struct NewSecret {
    pub name: String,
    pub value: String,
    pub project: Uuid,
    pub mount: Mount,
}

#[derive(Clone)]
pub enum Mount {
    EnvironmentVariable,
    FilePath(String),
    RegistryHost(String),
    ApiOnly,
}

#[derive(Default)]
pub struct Page {
    pub size: i32,
    pub token: String,
    pub timeout: Option<Duration>,
}

/// An error that the service answered, or that the library found.
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// The fields and the rules that they break.
    pub broken_rules: Vec<String>,
}

impl From<Failure> for String {
    fn from(failure: Failure) -> String {
        format!("{:?}: {}", failure.code, failure.message)
    }
}

type Outcome<T = ()> = Result<T, String>;

/// Goes through the scenario in a project of its own, and returns what was not as it should be.
pub async fn run(client: &impl Client, token: &str) -> Outcome {
    let (api, project) = (client.open(token, false), Uuid::new_v4());
    let made = at("create", create_three(&api, project).await)?;
    let again = api.create(&environment_variable(project)).await;
    at("conflict", expect(again, Code::AlreadyExists))?;
    at("list", list(&api, project, &made).await)?;
    at("get, update, delete", change(&api, &made[0]).await)?;
    at("broken rules", broken_rules(&api, project).await)?;
    let stranger = client.open("unknown", false).list(project, &Page::default()).await;
    at("unauthenticated", expect(stranger, Code::Unauthenticated))?;
    let page = Page { timeout: Some(Duration::from_micros(1)), ..Page::default() };
    at("deadline", expect(api.list(project, &page).await, Code::DeadlineExceeded))?;
    at("longest value", longest_value(&api, project, "LONGEST").await)?;
    at("gzip", longest_value(&client.open(token, true), project, "COMPRESSED").await)
}

/// Puts the name of a step before what was wrong in it.
fn at<T>(step: &str, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|wrong| format!("{step}: {wrong}"))
}

/// Checks the code of an error. The codes of Connect and gRPC are the same numbers.
fn expect<T>(outcome: Result<T, Failure>, want: Code) -> Outcome {
    match outcome {
        Ok(_) => Err(format!("the call succeeds instead of {want:?}")),
        Err(failure) if failure.code == want => Ok(()),
        Err(failure) => Err(format!("{} instead of {want:?}", String::from(failure))),
    }
}

fn environment_variable(project: Uuid) -> NewSecret {
    NewSecret {
        name: "DATABASE_URL".into(),
        value: "postgresql://user:pass@localhost:5432/db".into(),
        project,
        mount: Mount::EnvironmentVariable,
    }
}

/// Stores an environment variable, a file and a registry login, and returns their ids.
async fn create_three(api: &impl Secrets, project: Uuid) -> Outcome<Vec<String>> {
    let secrets = [
        environment_variable(project),
        NewSecret {
            name: "SSH_KEY".into(),
            value: "-----BEGIN RSA PRIVATE KEY-----\n...".into(),
            project,
            mount: Mount::FilePath("/home/gitpod/.ssh/id_rsa".into()),
        },
        NewSecret {
            name: "DOCKER_AUTH".into(),
            value: "username:password".into(),
            project,
            mount: Mount::RegistryHost("https://registry.example.com".into()),
        },
    ];
    let mut ids = Vec::new();
    for secret in secrets {
        // The rules are in the contract, so a client can check them before it sends.
        let broken = api.broken_rules(&secret);
        if !broken.is_empty() {
            return Err(format!("prost-protovalidate finds {broken:?}"));
        }
        ids.push(api.create(&secret).await?);
    }
    Ok(ids)
}

/// Reads the secrets of the project two at a time.
async fn list(api: &impl Secrets, project: Uuid, want: &[String]) -> Outcome {
    let mut found = Vec::new();
    let mut page = Page { size: 2, ..Page::default() };
    loop {
        let (ids, next) = api.list(project, &page).await?;
        found.extend(ids);
        if next.is_empty() {
            break;
        }
        page.token = next;
    }
    if found != want {
        return Err(format!("{} secrets, or another order, instead of {}", found.len(), want.len()));
    }
    Ok(())
}

/// Reads a value, replaces it, and removes the secret.
async fn change(api: &impl Secrets, id: &str) -> Outcome {
    value_is(api, id, "postgresql://user:pass@localhost:5432/db").await?;
    api.update(id, "changed").await?;
    value_is(api, id, "changed").await?;
    api.delete(id).await?;
    expect(api.value(id).await, Code::NotFound)
}

async fn value_is(api: &impl Secrets, id: &str, want: &str) -> Outcome {
    if api.value(id).await? != want {
        return Err("another value came back".into());
    }
    Ok(())
}

/// Sends a request that breaks three rules. The service names the same rules as prost-protovalidate does here.
async fn broken_rules(api: &impl Secrets, project: Uuid) -> Outcome {
    let secret =
        NewSecret { name: "a-b".into(), value: "x".repeat(10_241), project, mount: Mount::FilePath("relative".into()) };
    let Err(failure) = api.create(&secret).await else {
        return Err("the call succeeds".into());
    };
    let (got, want) = (failure.broken_rules.clone(), api.broken_rules(&secret));
    expect(Err::<(), _>(failure), Code::InvalidArgument)?;
    if got != want || got.len() != 3 {
        return Err(format!("the service names {got:?}, prost-protovalidate {want:?}"));
    }
    Ok(())
}

/// Stores the longest value, in characters of four bytes, and reads it. One more is too long.
async fn longest_value(api: &impl Secrets, project: Uuid, name: &str) -> Outcome {
    let mut secret = NewSecret { name: name.into(), value: "😀".repeat(10_240), project, mount: Mount::ApiOnly };
    let id = api.create(&secret).await?;
    value_is(api, &id, &secret.value).await?;
    secret.value.push('😀');
    expect(api.create(&secret).await, Code::InvalidArgument)
}
