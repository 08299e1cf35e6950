package interop;

import build.buf.protovalidate.ValidationResult;
import build.buf.protovalidate.Validator;
import build.buf.protovalidate.ValidatorFactory;
import build.buf.protovalidate.exceptions.ValidationException;
import build.buf.validate.Violations;
import com.gitpod.v1.CreateSecretRequest;
import com.gitpod.v1.DeleteSecretRequest;
import com.gitpod.v1.GetSecretValueRequest;
import com.gitpod.v1.ListSecretsRequest;
import com.gitpod.v1.ListSecretsResponse;
import com.gitpod.v1.PaginationRequest;
import com.gitpod.v1.Secret;
import com.gitpod.v1.SecretScope;
import com.gitpod.v1.SecretServiceGrpc.SecretServiceBlockingStub;
import com.gitpod.v1.UpdateSecretValueRequest;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** What a client does, in a project of its own, and what must come back. */
final class Scenario {
  /** Says in which step something was not as it should be. */
  static final class Failure extends Exception {
    private Failure(String step, Exception cause) {
      super(step + ": " + cause.getMessage(), cause);
    }
  }

  private interface Step {
    void run() throws Exception;
  }

  private final Validator validator = ValidatorFactory.newBuilder().build();
  private final Function<String, SecretServiceBlockingStub> open;
  private final SecretScope scope = SecretScope.newBuilder().setProjectId(UUID.randomUUID().toString()).build();
  private final List<String> made = new ArrayList<>();

  /** Takes a function that makes a client for a token. */
  Scenario(Function<String, SecretServiceBlockingStub> open) {
    this.open = open;
  }

  /** Goes through the scenario with a token that the service knows. */
  void run(String token) throws Failure {
    SecretServiceBlockingStub api = open.apply(token);
    step("create", () -> createThree(api));
    step("conflict", () -> refused(Status.Code.ALREADY_EXISTS, () -> api.createSecret(environmentVariable())));
    step("list", () -> list(api));
    step("get, update, delete", () -> change(api, made.get(0)));
    step("broken rules", () -> brokenRules(api));
    ListSecretsRequest everything = ListSecretsRequest.getDefaultInstance();
    step("unauthenticated",
        () -> refused(Status.Code.UNAUTHENTICATED, () -> open.apply("unknown").listSecrets(everything)));
    SecretServiceBlockingStub hasty = api.withDeadlineAfter(1, TimeUnit.MICROSECONDS);
    step("deadline", () -> refused(Status.Code.DEADLINE_EXCEEDED, () -> hasty.listSecrets(everything)));
    step("longest value", () -> longestValue(api, "LONGEST"));
    step("gzip", () -> longestValue(api.withCompression("gzip"), "COMPRESSED"));
  }

  private static void step(String name, Step step) throws Failure {
    try {
      step.run();
    } catch (Exception error) {
      throw new Failure(name, error);
    }
  }

  private CreateSecretRequest environmentVariable() {
    return CreateSecretRequest.newBuilder()
        .setName("DATABASE_URL")
        .setValue("postgresql://user:pass@localhost:5432/db")
        .setScope(scope)
        .setEnvironmentVariable(true)
        .build();
  }

  /** Stores an environment variable, a file and a registry login. */
  private void createThree(SecretServiceBlockingStub api) throws ValidationException {
    CreateSecretRequest file = CreateSecretRequest.newBuilder()
        .setName("SSH_KEY")
        .setValue("-----BEGIN RSA PRIVATE KEY-----\n...")
        .setScope(scope)
        .setFilePath("/home/gitpod/.ssh/id_rsa")
        .build();
    CreateSecretRequest login = CreateSecretRequest.newBuilder()
        .setName("DOCKER_AUTH")
        .setValue("username:password")
        .setScope(scope)
        .setContainerRegistryBasicAuthHost("https://registry.example.com")
        .build();
    for (CreateSecretRequest request : List.of(environmentVariable(), file, login)) {
      // The rules are in the contract, so a client can check them before it sends.
      ValidationResult result = validator.validate(request);
      check(result.isSuccess(), "protovalidate refuses the request");
      Secret secret = api.createSecret(request).getSecret();
      check(secret.getName().equals(request.getName()) && secret.hasCreatedAt(), "another secret came back");
      made.add(secret.getId());
    }
  }

  /** Reads the secrets of the scope two at a time. */
  private void list(SecretServiceBlockingStub api) {
    List<String> found = new ArrayList<>();
    PaginationRequest.Builder page = PaginationRequest.newBuilder().setPageSize(2);
    do {
      ListSecretsRequest.Filter filter = ListSecretsRequest.Filter.newBuilder().setScope(scope).build();
      ListSecretsResponse response =
          api.listSecrets(ListSecretsRequest.newBuilder().setPagination(page).setFilter(filter).build());
      response.getSecretsList().forEach(secret -> found.add(secret.getId()));
      page.setToken(response.getPagination().getNextToken());
    } while (!page.getToken().isEmpty());
    check(found.equals(made), found.size() + " secrets, or another order, instead of " + made.size());
  }

  /** Reads a value, replaces it, and removes the secret. */
  private void change(SecretServiceBlockingStub api, String id) {
    check(value(api, id).equals("postgresql://user:pass@localhost:5432/db"), "another value came back");
    api.updateSecretValue(UpdateSecretValueRequest.newBuilder().setSecretId(id).setValue("changed").build());
    check(value(api, id).equals("changed"), "the value is not replaced");
    api.deleteSecret(DeleteSecretRequest.newBuilder().setSecretId(id).build());
    refused(Status.Code.NOT_FOUND, () -> value(api, id));
  }

  private static String value(SecretServiceBlockingStub api, String id) {
    return api.getSecretValue(GetSecretValueRequest.newBuilder().setSecretId(id).build()).getValue();
  }

  /** Sends a request that breaks three rules. The service names the same rules as protovalidate does here. */
  private void brokenRules(SecretServiceBlockingStub api) throws Exception {
    CreateSecretRequest request = CreateSecretRequest.newBuilder()
        .setName("a-b")
        .setValue("x".repeat(10_241))
        .setScope(scope)
        .setFilePath("relative")
        .build();
    StatusRuntimeException error = refused(Status.Code.INVALID_ARGUMENT, () -> api.createSecret(request));
    List<String> want = Rules.broken(validator.validate(request).toProto());
    List<String> got = Rules.broken(violations(error));
    check(got.equals(want) && got.size() == 3, "the service names " + got + ", protovalidate " + want);
  }

  /** Returns the rules that a request broke, from the details of the error. */
  private static Violations violations(StatusRuntimeException error) throws InvalidProtocolBufferException {
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(Violations.class)) {
        return detail.unpack(Violations.class);
      }
    }
    return Violations.getDefaultInstance();
  }

  /** Stores the longest value, in characters of four bytes, and reads it. One more is too long. */
  private void longestValue(SecretServiceBlockingStub api, String name) {
    String value = "😀".repeat(10_240);
    CreateSecretRequest.Builder request =
        CreateSecretRequest.newBuilder().setName(name).setValue(value).setScope(scope).setApiOnly(true);
    String id = api.createSecret(request.build()).getSecret().getId();
    check(value(api, id).equals(value), "another value came back");
    request.setValue(value + "😀");
    refused(Status.Code.INVALID_ARGUMENT, () -> api.createSecret(request.build()));
  }

  /** Returns the error of a call that must fail with a code. */
  private static StatusRuntimeException refused(Status.Code want, Callable<?> call) {
    try {
      call.call();
    } catch (StatusRuntimeException error) {
      Status.Code got = error.getStatus().getCode();
      check(got == want, got + " instead of " + want);
      return error;
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
    throw new IllegalStateException("the call succeeds instead of " + want);
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalStateException(otherwise);
    }
  }
}
