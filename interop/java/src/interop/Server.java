package interop;

import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;

/**
 * Is gitpod.v1.SecretService in memory, by grpc-java, for clients to be tried with. It prints its URL on a line, and
 * ends when its standard input does. GITPOD_API_KEY is the token that it accepts.
 */
public final class Server {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Server() {}

  public static void main(String[] arguments) throws IOException {
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    io.grpc.Server server = NettyServerBuilder.forAddress(address, InsecureServerCredentials.create())
        .addService(new Memory())
        .intercept(new Authentication("Bearer " + System.getenv("GITPOD_API_KEY")))
        .build()
        .start();
    System.out.printf("http://127.0.0.1:%d%n", server.getPort());
    System.in.transferTo(OutputStream.nullOutputStream());
    server.shutdownNow();
  }

  /** Refuses calls without the token. */
  private record Authentication(String authorization) implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
      if (authorization.equals(headers.get(AUTHORIZATION))) {
        return next.startCall(call, headers);
      }
      call.close(Status.UNAUTHENTICATED.withDescription("no such token"), new Metadata());
      return new ServerCall.Listener<>() {};
    }
  }
}
