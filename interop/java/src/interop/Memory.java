package interop;

import build.buf.protovalidate.ValidationResult;
import build.buf.protovalidate.Validator;
import build.buf.protovalidate.ValidatorFactory;
import build.buf.protovalidate.exceptions.ValidationException;
import com.gitpod.v1.CreateSecretRequest;
import com.gitpod.v1.CreateSecretResponse;
import com.gitpod.v1.DeleteSecretRequest;
import com.gitpod.v1.DeleteSecretResponse;
import com.gitpod.v1.GetSecretValueRequest;
import com.gitpod.v1.GetSecretValueResponse;
import com.gitpod.v1.ListSecretsRequest;
import com.gitpod.v1.ListSecretsResponse;
import com.gitpod.v1.PaginationResponse;
import com.gitpod.v1.Secret;
import com.gitpod.v1.SecretScope;
import com.gitpod.v1.SecretServiceGrpc;
import com.gitpod.v1.UpdateSecretValueRequest;
import com.gitpod.v1.UpdateSecretValueResponse;
import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.Timestamps;
import com.google.rpc.Code;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** Keeps secrets in memory. */
final class Memory extends SecretServiceGrpc.SecretServiceImplBase {
  private static final int DEFAULT_PAGE_SIZE = 25;

  private final Validator validator = ValidatorFactory.newBuilder().build();
  private final List<Secret> secrets = new ArrayList<>(); // the oldest first
  private final Map<String, String> values = new HashMap<>(); // by id
  private final Set<String> refused = new HashSet<>(); // names that begin with FLAKY

  @Override
  public void createSecret(CreateSecretRequest request, StreamObserver<CreateSecretResponse> observer) {
    answer(request, observer, () -> {
      refuseOnce(request.getName());
      for (Secret each : secrets) {
        if (each.getName().equals(request.getName()) && each.getScope().equals(request.getScope())) {
          throw failure(Code.ALREADY_EXISTS, "name: is taken in this scope");
        }
      }
      Secret secret = secret(request);
      secrets.add(secret);
      values.put(secret.getId(), request.getValue());
      return CreateSecretResponse.newBuilder().setSecret(secret).build();
    });
  }

  @Override
  public void updateSecretValue(UpdateSecretValueRequest request, StreamObserver<UpdateSecretValueResponse> observer) {
    answer(request, observer, () -> {
      values.put(find(request.getSecretId()).getId(), request.getValue());
      return UpdateSecretValueResponse.getDefaultInstance();
    });
  }

  /** The token of a page is the number of secrets before it. */
  @Override
  public void listSecrets(ListSecretsRequest request, StreamObserver<ListSecretsResponse> observer) {
    answer(request, observer, () -> {
      SecretScope scope = request.getFilter().getScope();
      Stream<Secret> wanted = secrets.stream().filter(each -> each.getScope().equals(scope));
      List<Secret> found = request.getFilter().hasScope() ? wanted.toList() : secrets;
      String token = request.getPagination().getToken();
      int size = request.getPagination().getPageSize();
      int start = Math.min(token.isEmpty() ? 0 : Integer.parseInt(token), found.size());
      int end = Math.min(start + (size == 0 ? DEFAULT_PAGE_SIZE : size), found.size());
      String next = end < found.size() ? Integer.toString(end) : "";
      return ListSecretsResponse.newBuilder()
          .addAllSecrets(found.subList(start, end))
          .setPagination(PaginationResponse.newBuilder().setNextToken(next))
          .build();
    });
  }

  @Override
  public void deleteSecret(DeleteSecretRequest request, StreamObserver<DeleteSecretResponse> observer) {
    answer(request, observer, () -> {
      secrets.remove(find(request.getSecretId()));
      values.remove(request.getSecretId());
      return DeleteSecretResponse.getDefaultInstance();
    });
  }

  @Override
  public void getSecretValue(GetSecretValueRequest request, StreamObserver<GetSecretValueResponse> observer) {
    answer(request, observer, () -> {
      String value = values.get(find(request.getSecretId()).getId());
      return GetSecretValueResponse.newBuilder().setValue(value).build();
    });
  }

  /** Checks a request, runs a call and sends its response or its error. One call runs at a time. */
  private synchronized <R> void answer(Message request, StreamObserver<R> observer, Supplier<R> call) {
    try {
      check(request);
      R response = call.get();
      observer.onNext(response);
      observer.onCompleted();
    } catch (StatusRuntimeException error) {
      observer.onError(error);
    }
  }

  /** Throws an error with the rules that the request breaks. */
  private void check(Message request) {
    ValidationResult result;
    try {
      result = validator.validate(request);
    } catch (ValidationException error) {
      throw failure(Code.INTERNAL, "the rules cannot be checked");
    }
    if (!result.isSuccess()) {
      throw failure(Code.INVALID_ARGUMENT, "the request breaks rules", result.toProto());
    }
  }

  /** Refuses a name that begins with FLAKY once, as a service under load does. */
  private void refuseOnce(String name) {
    if (name.startsWith("FLAKY") && refused.add(name)) {
      throw failure(
          Code.UNAVAILABLE, "too many calls", RetryInfo.newBuilder().setRetryDelay(Durations.fromMillis(10)).build());
    }
  }

  private Secret find(String id) {
    return secrets.stream()
        .filter(each -> each.getId().equals(id))
        .findFirst()
        .orElseThrow(() -> failure(Code.NOT_FOUND, "secret_id: no such secret"));
  }

  private static Secret secret(CreateSecretRequest request) {
    Timestamp now = Timestamps.now();
    Secret.Builder secret = Secret.newBuilder()
        .setId(UUID.randomUUID().toString())
        .setName(request.getName())
        .setScope(request.getScope())
        .setCreatedAt(now)
        .setUpdatedAt(now);
    return switch (request.getMountCase()) {
      case FILE_PATH -> secret.setFilePath(request.getFilePath()).build();
      case ENVIRONMENT_VARIABLE -> secret.setEnvironmentVariable(true).build();
      case CONTAINER_REGISTRY_BASIC_AUTH_HOST ->
          secret.setContainerRegistryBasicAuthHost(request.getContainerRegistryBasicAuthHost()).build();
      case API_ONLY -> secret.setApiOnly(true).build();
      case MOUNT_NOT_SET -> throw new IllegalArgumentException("the rules want a mount");
    };
  }

  /** Returns an error with details. */
  private static StatusRuntimeException failure(Code code, String message, Message... details) {
    Status.Builder status = Status.newBuilder().setCode(code.getNumber()).setMessage(message);
    for (Message each : details) {
      status.addDetails(Any.pack(each));
    }
    return StatusProto.toStatusRuntimeException(status.build());
  }
}
