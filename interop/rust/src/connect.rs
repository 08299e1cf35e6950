//! The client of connectrpc: Connect, gRPC-Web and gRPC, in binary or JSON, with messages of buffa.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use buffa::Message;
use connectrpc::client::{CallOptions, ClientConfig, HttpClient, call_unary_get};
use connectrpc::rustls::{self, RootCertStore};
use connectrpc::{CodecFormat, ConnectError, Protocol, SpecOrigin};
use prost::Message as _;
use prost_protovalidate::types::Violations;
use tonic::Code;
use uuid::Uuid;

use crate::scenario::{Client, Failure, Mount, NewSecret, Page, Secrets};
use interop::messages::gitpod::v1::{
    CreateSecretRequest, DeleteSecretRequest, GetSecretValueRequest, ListSecretsRequest, PaginationRequest,
    SecretScope, UpdateSecretValueRequest, create_secret_request, list_secrets_request, secret_scope,
};
use interop::rules;
use interop::services::gitpod::v1::{
    SECRET_SERVICE_GET_SECRET_VALUE_SPEC, SECRET_SERVICE_LIST_SECRETS_SPEC, SecretServiceClient,
};

/// A protocol and a codec, and the connections.
pub struct Connect {
    connections: HttpClient,
    config: ClientConfig,
    get: bool,
}

impl Connect {
    pub fn new(url: &str, protocol: Protocol, codec: CodecFormat) -> Connect {
        let connections = if url.starts_with("https:") {
            HttpClient::with_tls(trust())
        } else if protocol == Protocol::Grpc {
            // gRPC needs HTTP/2. With TLS, client and server agree on it.
            HttpClient::plaintext_http2_only()
        } else {
            HttpClient::plaintext()
        };
        let url = url.parse().expect("the URL is valid");
        let config = ClientConfig::new(url).with_protocol(protocol).with_codec_format(codec);
        Connect { connections, config, get: false }
    }

    /// Reads by HTTP GET, which caches can answer.
    pub fn with_get(self) -> Connect {
        Connect { get: true, ..self }
    }
}

/// The certificates that the machine trusts, or those of SSL_CERT_FILE.
fn trust() -> Arc<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

impl Client for Connect {
    type Secrets = ConnectSecrets;

    fn open(&self, token: &str, compress: bool) -> ConnectSecrets {
        let mut config = self.config.clone().with_default_header("authorization", format!("Bearer {token}"));
        if compress {
            config = config.compress_requests("gzip");
        }
        let stub = SecretServiceClient::new(self.connections.clone(), config.clone());
        ConnectSecrets { stub, connections: self.connections.clone(), config, get: self.get }
    }
}

pub struct ConnectSecrets {
    stub: SecretServiceClient<HttpClient>,
    connections: HttpClient,
    config: ClientConfig,
    get: bool,
}

impl Secrets for ConnectSecrets {
    async fn create(&self, secret: &NewSecret) -> Result<String, Failure> {
        let response = self.stub.create_secret(creation(secret)).await.map_err(failure)?.into_owned();
        Ok(response.secret.id.clone())
    }

    async fn list(&self, project: Uuid, page: &Page) -> Result<(Vec<String>, String), Failure> {
        let request = ListSecretsRequest {
            pagination: PaginationRequest { page_size: page.size, token: page.token.clone(), ..Default::default() }
                .into(),
            filter: list_secrets_request::Filter { scope: scope(project).into(), ..Default::default() }.into(),
            ..Default::default()
        };
        let mut options = CallOptions::default();
        if let Some(timeout) = page.timeout {
            options = options.with_timeout(timeout);
        }
        let response = if self.get {
            let spec = SECRET_SERVICE_LIST_SECRETS_SPEC.with_origin(SpecOrigin::Client);
            call_unary_get(&self.connections, &self.config, spec, request, options).await
        } else {
            self.stub.list_secrets_with_options(request, options).await
        };
        let response = response.map_err(failure)?.into_owned();
        let ids = response.secrets.iter().map(|secret| secret.id.clone()).collect();
        Ok((ids, response.pagination.next_token.clone()))
    }

    async fn value(&self, id: &str) -> Result<String, Failure> {
        let request = GetSecretValueRequest { secret_id: id.into(), ..Default::default() };
        let response = if self.get {
            let spec = SECRET_SERVICE_GET_SECRET_VALUE_SPEC.with_origin(SpecOrigin::Client);
            call_unary_get(&self.connections, &self.config, spec, request, CallOptions::default()).await
        } else {
            self.stub.get_secret_value(request).await
        };
        Ok(response.map_err(failure)?.into_owned().value)
    }

    async fn update(&self, id: &str, value: &str) -> Result<(), Failure> {
        let request = UpdateSecretValueRequest { secret_id: id.into(), value: value.into(), ..Default::default() };
        self.stub.update_secret_value(request).await.map_err(failure)?;
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), Failure> {
        let request = DeleteSecretRequest { secret_id: id.into(), ..Default::default() };
        self.stub.delete_secret(request).await.map_err(failure)?;
        Ok(())
    }

    fn broken_rules(&self, secret: &NewSecret) -> Vec<String> {
        rules::broken_by("gitpod.v1.CreateSecretRequest", &creation(secret).encode_to_vec())
    }
}

fn creation(secret: &NewSecret) -> CreateSecretRequest {
    use create_secret_request::Mount as Field;
    CreateSecretRequest {
        name: secret.name.clone(),
        value: secret.value.clone(),
        scope: scope(secret.project).into(),
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
    SecretScope { scope: Some(secret_scope::Scope::ProjectId(project.to_string())), ..Default::default() }
}

/// A detail's value is a message in binary, in base64 without padding.
fn failure(error: ConnectError) -> Failure {
    let violations = error.details.iter().find(|detail| detail.type_url.ends_with("buf.validate.Violations"));
    Failure {
        code: Code::from(error.code.grpc_code() as i32),
        message: error.message.unwrap_or_default(),
        broken_rules: violations
            .and_then(|detail| BASE64_STANDARD_NO_PAD.decode(detail.value.as_ref()?).ok())
            .and_then(|binary| Violations::decode(&*binary).ok())
            .map_or(Vec::new(), |violations| rules::names(&violations)),
    }
}
