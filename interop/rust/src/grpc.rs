//! The client of tonic: gRPC, with messages of prost.

use std::time::Duration;

use prost::{Message, Name};
use prost_protovalidate::types::Violations;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::scenario::{Client, Failure, Mount, NewSecret, Page, Secrets};
use interop::gitpod_v1::secret_service_client::SecretServiceClient;
use interop::gitpod_v1::{
    CreateSecretRequest, DeleteSecretRequest, GetSecretValueRequest, ListSecretsRequest, PaginationRequest,
    SecretScope, UpdateSecretValueRequest, create_secret_request, list_secrets_request, secret_scope,
};
use interop::rules;

/// One connection.
pub struct Tonic(Channel);

impl Tonic {
    pub fn new(url: String) -> Result<Tonic, tonic::transport::Error> {
        let secure = url.starts_with("https:");
        let mut endpoint = Channel::from_shared(url).expect("GITPOD_GRPC_URL is a URL");
        if secure {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok(Tonic(endpoint.connect_lazy()))
    }
}

impl Client for Tonic {
    type Secrets = TonicSecrets;

    fn open(&self, token: &str, compress: bool) -> TonicSecrets {
        let bearer = Bearer(format!("Bearer {token}").parse().expect("a token is ASCII"));
        let stub =
            SecretServiceClient::with_interceptor(self.0.clone(), bearer).accept_compressed(CompressionEncoding::Gzip);
        TonicSecrets(if compress { stub.send_compressed(CompressionEncoding::Gzip) } else { stub })
    }
}

/// Adds the token to each call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Methods of a stub take it mutably. A clone of it is cheap and shares its connection.
pub struct TonicSecrets(SecretServiceClient<InterceptedService<Channel, Bearer>>);

impl Secrets for TonicSecrets {
    async fn create(&self, secret: &NewSecret) -> Result<String, Failure> {
        let response = self.0.clone().create_secret(creation(secret)).await.map_err(failure)?;
        Ok(response.into_inner().secret.unwrap_or_default().id)
    }

    async fn list(&self, project: Uuid, page: &Page) -> Result<(Vec<String>, String), Failure> {
        let mut request = Request::new(ListSecretsRequest {
            pagination: Some(PaginationRequest { page_size: page.size, token: page.token.clone() }),
            filter: Some(list_secrets_request::Filter { scope: Some(scope(project)), ..Default::default() }),
        });
        if let Some(timeout) = page.timeout {
            request.set_timeout(timeout);
        }
        let response = self.0.clone().list_secrets(request).await.map_err(|status| late(status, page.timeout))?;
        let response = response.into_inner();
        let ids = response.secrets.into_iter().map(|secret| secret.id).collect();
        Ok((ids, response.pagination.unwrap_or_default().next_token))
    }

    async fn value(&self, id: &str) -> Result<String, Failure> {
        let request = GetSecretValueRequest { secret_id: id.into() };
        let response = self.0.clone().get_secret_value(request).await.map_err(failure)?;
        Ok(response.into_inner().value)
    }

    async fn update(&self, id: &str, value: &str) -> Result<(), Failure> {
        let request = UpdateSecretValueRequest { secret_id: id.into(), value: value.into() };
        self.0.clone().update_secret_value(request).await.map_err(failure)?;
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), Failure> {
        let request = DeleteSecretRequest { secret_id: id.into() };
        self.0.clone().delete_secret(request).await.map_err(failure)?;
        Ok(())
    }

    fn broken_rules(&self, secret: &NewSecret) -> Vec<String> {
        rules::broken_by(&CreateSecretRequest::full_name(), &creation(secret).encode_to_vec())
    }
}

fn creation(secret: &NewSecret) -> CreateSecretRequest {
    use create_secret_request::Mount as Field;
    CreateSecretRequest {
        name: secret.name.clone(),
        value: secret.value.clone(),
        scope: Some(scope(secret.project)),
        mount: Some(match &secret.mount {
            Mount::EnvironmentVariable => Field::EnvironmentVariable(true),
            Mount::FilePath(path) => Field::FilePath(path.clone()),
            Mount::RegistryHost(host) => Field::ContainerRegistryBasicAuthHost(host.clone()),
            Mount::ApiOnly => Field::ApiOnly(true),
        }),
        ..Default::default()
    }
}

fn scope(project: Uuid) -> SecretScope {
    SecretScope { scope: Some(secret_scope::Scope::ProjectId(project.to_string())) }
}

/// The details of an error are a google.rpc.Status in binary.
fn failure(status: Status) -> Failure {
    let details = tonic_types::Status::decode(status.details()).unwrap_or_default().details;
    let violations = details.into_iter().find(|detail| detail.type_url.ends_with("/buf.validate.Violations"));
    Failure {
        code: status.code(),
        message: status.message().into(),
        broken_rules: violations
            .and_then(|detail| Violations::decode(&*detail.value).ok())
            .map_or(Vec::new(), |violations| rules::names(&violations)),
    }
}

/// tonic ends a call that is past its deadline with CANCELLED. Nothing else cancels a call that is waited for.
fn late(status: Status, timeout: Option<Duration>) -> Failure {
    let mut failure = failure(status);
    if timeout.is_some() && failure.code == Code::Cancelled {
        failure.code = Code::DeadlineExceeded;
    }
    failure
}
