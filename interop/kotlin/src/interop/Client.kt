/**
 * Runs one scenario against gitpod.v1.SecretService by connect-kotlin with OkHttp, in each protocol and codec that it
 * speaks. It prints a line for each: client, protocol, codec and result, with tabs between them.
 *
 * GITPOD_BASE_URL is where the service speaks Connect and gRPC-Web, GITPOD_GRPC_URL where it speaks gRPC.
 * GITPOD_API_KEY is the token.
 */
package interop

import com.connectrpc.Interceptor
import com.connectrpc.ProtocolClientConfig
import com.connectrpc.RequestCompression
import com.connectrpc.SerializationStrategy
import com.connectrpc.StreamFunction
import com.connectrpc.UnaryFunction
import com.connectrpc.compression.GzipCompressionPool
import com.connectrpc.extensions.GoogleJavaJSONStrategy
import com.connectrpc.extensions.GoogleJavaProtobufStrategy
import com.connectrpc.http.clone
import com.connectrpc.impl.ProtocolClient
import com.connectrpc.okhttp.ConnectOkHttpClient
import com.connectrpc.protocols.GETConfiguration
import com.connectrpc.protocols.NetworkProtocol
import com.gitpod.v1.SecretServiceClient
import kotlinx.coroutines.runBlocking
import okhttp3.OkHttpClient
import okhttp3.Protocol
import kotlin.system.exitProcess

/** A protocol: what the matrix calls it, where it is spoken, and over which HTTP. */
private class Spoken(
    val name: String,
    val url: String,
    val protocol: NetworkProtocol,
    val http: OkHttpClient,
    val get: GETConfiguration = GETConfiguration.Disabled,
)

fun main() {
    val url = System.getenv("GITPOD_BASE_URL")
    // By default, OkHttp sends a request again when a connection breaks that it has used before.
    val http = OkHttpClient.Builder().retryOnConnectionFailure(false).build()
    // HTTP/2 without TLS, which gRPC needs. An https URL needs none of this.
    val http2 = http.newBuilder().protocols(listOf(Protocol.H2_PRIOR_KNOWLEDGE)).build()
    val protocols = listOf(
        Spoken("connect", url, NetworkProtocol.CONNECT, http),
        Spoken("connect GET", url, NetworkProtocol.CONNECT, http, GETConfiguration.Enabled),
        Spoken("grpc-web", url, NetworkProtocol.GRPC_WEB, http),
        Spoken("grpc", System.getenv("GITPOD_GRPC_URL"), NetworkProtocol.GRPC, http2),
    )
    val codecs = mapOf("binary" to GoogleJavaProtobufStrategy(), "json" to GoogleJavaJSONStrategy())
    for (spoken in protocols) {
        for ((codec, strategy) in codecs) {
            val scenario = Scenario { options -> open(spoken, strategy, options) }
            val result = runCatching { runBlocking { scenario.run(System.getenv("GITPOD_API_KEY")) } }
            println("connect-kotlin\t${spoken.name}\t$codec\t${result.exceptionOrNull()?.message ?: "ok"}")
        }
    }
    // OkHttp keeps threads for a minute.
    exitProcess(0)
}

private fun open(spoken: Spoken, strategy: SerializationStrategy, options: Options): SecretServiceClient {
    val config = ProtocolClientConfig(
        host = spoken.url,
        serializationStrategy = strategy,
        networkProtocol = spoken.protocol,
        requestCompression = RequestCompression(0, GzipCompressionPool).takeIf { options.compress },
        getConfiguration = spoken.get,
        interceptors = listOf { _ -> Bearer(options.token) },
        timeoutOracle = { options.timeout },
    )
    return SecretServiceClient(ProtocolClient(ConnectOkHttpClient(spoken.http), config))
}

/** Adds the token to each call. */
private class Bearer(private val token: String) : Interceptor {
    override fun unaryFunction() = UnaryFunction(
        requestFunction = { it.clone(headers = it.headers + ("authorization" to listOf("Bearer $token"))) },
    )

    override fun streamFunction() = StreamFunction()
}
