package interop;

import com.gitpod.v1.SecretServiceGrpc;
import com.gitpod.v1.SecretServiceGrpc.SecretServiceBlockingStub;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.util.concurrent.TimeUnit;

/**
 * Runs one scenario against gitpod.v1.SecretService by grpc-java. It prints a line: client, protocol, codec and result,
 * with tabs between them.
 *
 * <p>GITPOD_GRPC_URL is where the service speaks gRPC, GITPOD_API_KEY is the token.
 */
public final class Client {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Client() {}

  public static void main(String[] arguments) {
    String authority = URI.create(System.getenv("GITPOD_GRPC_URL")).getAuthority();
    // TlsChannelCredentials.create() for an https URL.
    ManagedChannel channel = Grpc.newChannelBuilder("dns:///" + authority, InsecureChannelCredentials.create()).build();
    String result = "ok";
    try {
      new Scenario(token -> stub(channel, token)).run(System.getenv("GITPOD_API_KEY"));
    } catch (Scenario.Failure failure) {
      result = failure.getMessage();
    } finally {
      channel.shutdownNow();
    }
    System.out.printf("grpc-java\tgrpc\tbinary\t%s%n", result);
  }

  /** Returns a client that sends the token with each call, and has a minute for all of its calls. */
  private static SecretServiceBlockingStub stub(ManagedChannel channel, String token) {
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, "Bearer " + token);
    return SecretServiceGrpc.newBlockingStub(channel)
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
        .withDeadlineAfter(1, TimeUnit.MINUTES);
  }
}
