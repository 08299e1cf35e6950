package interop

import build.buf.protovalidate.ValidatorFactory
import build.buf.validate.Violations
import com.connectrpc.Code
import com.connectrpc.ConnectException
import com.connectrpc.ResponseMessage
import com.connectrpc.exceptionOrNull
import com.connectrpc.getOrThrow
import com.gitpod.v1.CreateSecretRequest
import com.gitpod.v1.ListSecretsRequestKt.filter
import com.gitpod.v1.SecretServiceClientInterface
import com.gitpod.v1.copy
import com.gitpod.v1.createSecretRequest
import com.gitpod.v1.deleteSecretRequest
import com.gitpod.v1.getSecretValueRequest
import com.gitpod.v1.listSecretsRequest
import com.gitpod.v1.paginationRequest
import com.gitpod.v1.secretScope
import com.gitpod.v1.updateSecretValueRequest
import java.util.UUID
import kotlin.time.Duration
import kotlin.time.Duration.Companion.microseconds
import kotlin.time.Duration.Companion.minutes

/** How a client calls. The timeout is that of one call. */
data class Options(val token: String, val compress: Boolean = false, val timeout: Duration = 1.minutes)

/** What a client does, in a project of its own, and what must come back. */
class Scenario(private val open: (Options) -> SecretServiceClientInterface) {
    private val validator = ValidatorFactory.newBuilder().build()
    private val project = secretScope { projectId = UUID.randomUUID().toString() }
    private val made = mutableListOf<String>()
    private val environmentVariable = createSecretRequest {
        name = "DATABASE_URL"
        value = "postgresql://user:pass@localhost:5432/db"
        scope = project
        environmentVariable = true
    }

    /** Goes through the scenario with a token that the service knows. Throws an error that names the step. */
    suspend fun run(token: String) {
        val api = open(Options(token))
        step("create") { createThree(api) }
        step("conflict") { refused(Code.ALREADY_EXISTS, api.createSecret(environmentVariable)) }
        step("list") { list(api) }
        step("get, update, delete") { change(api, made.first()) }
        step("broken rules") { brokenRules(api) }
        step("unauthenticated") {
            refused(Code.UNAUTHENTICATED, open(Options("unknown")).listSecrets(listSecretsRequest {}))
        }
        step("deadline") { deadline(open(Options(token, timeout = 1.microseconds))) }
        step("longest value") { longestValue(api, "LONGEST") }
        step("gzip") { longestValue(open(Options(token, compress = true)), "COMPRESSED") }
    }

    private suspend fun step(name: String, run: suspend () -> Unit) {
        try {
            run()
        } catch (error: Exception) {
            throw IllegalStateException("$name: ${error.message}", error)
        }
    }

    /** Stores an environment variable, a file and a registry login. */
    private suspend fun createThree(api: SecretServiceClientInterface) {
        val file = createSecretRequest {
            name = "SSH_KEY"
            value = "-----BEGIN RSA PRIVATE KEY-----\n..."
            scope = project
            filePath = "/home/gitpod/.ssh/id_rsa"
        }
        val login = createSecretRequest {
            name = "DOCKER_AUTH"
            value = "username:password"
            scope = project
            containerRegistryBasicAuthHost = "https://registry.example.com"
        }
        for (request in listOf(environmentVariable, file, login)) {
            // The rules are in the contract, so a client can check them before it sends.
            check(validator.validate(request).isSuccess) { "protovalidate refuses the request" }
            val secret = api.createSecret(request).getOrThrow().secret
            check(secret.name == request.name && secret.hasCreatedAt()) { "another secret came back" }
            made += secret.id
        }
    }

    /** Reads the secrets of the scope two at a time. */
    private suspend fun list(api: SecretServiceClientInterface) {
        val found = mutableListOf<String>()
        var next = ""
        do {
            val request = listSecretsRequest {
                pagination = paginationRequest {
                    pageSize = 2
                    token = next
                }
                filter = filter { scope = project }
            }
            val response = api.listSecrets(request).getOrThrow()
            response.secretsList.mapTo(found) { it.id }
            next = response.pagination.nextToken
        } while (next.isNotEmpty())
        check(found == made) { "${found.size} secrets, or another order, instead of ${made.size}" }
    }

    /** Reads a value, replaces it, and removes the secret. */
    private suspend fun change(api: SecretServiceClientInterface, id: String) {
        val read = getSecretValueRequest { secretId = id }
        check(api.getSecretValue(read).getOrThrow().value == environmentVariable.value) { "another value came back" }
        val update = updateSecretValueRequest {
            secretId = id
            value = "changed"
        }
        api.updateSecretValue(update).getOrThrow()
        check(api.getSecretValue(read).getOrThrow().value == "changed") { "the value is not replaced" }
        api.deleteSecret(deleteSecretRequest { secretId = id }).getOrThrow()
        refused(Code.NOT_FOUND, api.getSecretValue(read))
    }

    /** Sends a request that breaks three rules. The service names the same rules as protovalidate does here. */
    private suspend fun brokenRules(api: SecretServiceClientInterface) {
        val request = createSecretRequest {
            name = "a-b"
            value = "x".repeat(10_241)
            scope = project
            filePath = "relative"
        }
        val error = refused(Code.INVALID_ARGUMENT, api.createSecret(request))
        val want = rules(validator.validate(request).toProto())
        val got = error.unpackedDetails(Violations::class).flatMap(::rules)
        check(got == want && got.size == 3) { "the service names $got, protovalidate $want" }
    }

    /** Returns the fields and the rules that they break. */
    private fun rules(violations: Violations): List<String> = violations.violationsList
        .map { each -> each.field.elementsList.joinToString(".") { it.fieldName } + " " + each.ruleId }
        .sorted()

    /**
     * Calls with a deadline that has passed. It is no GET, with which connect-kotlin 0.7.4 sends no deadline. The error
     * is CANCELED when the call ends before connect-kotlin has noted its own timer.
     */
    private suspend fun deadline(hasty: SecretServiceClientInterface) {
        val response = hasty.deleteSecret(deleteSecretRequest { secretId = made.first() })
        refused(setOf(Code.DEADLINE_EXCEEDED, Code.CANCELED), response)
    }

    /** Stores the longest value, in characters of four bytes, and reads it. One more is too long. */
    private suspend fun longestValue(api: SecretServiceClientInterface, name: String) {
        val request: CreateSecretRequest = createSecretRequest {
            this.name = name
            value = "😀".repeat(10_240)
            scope = project
            apiOnly = true
        }
        val id = api.createSecret(request).getOrThrow().secret.id
        val response = api.getSecretValue(getSecretValueRequest { secretId = id }).getOrThrow()
        check(response.value == request.value) { "another value came back" }
        refused(Code.INVALID_ARGUMENT, api.createSecret(request.copy { value += "😀" }))
    }

    /** Returns the error of a call that must fail with a code. */
    private fun refused(want: Code, response: ResponseMessage<*>): ConnectException = refused(setOf(want), response)

    private fun refused(want: Set<Code>, response: ResponseMessage<*>): ConnectException {
        val error = response.exceptionOrNull()
        check(error is ConnectException) { "the call succeeds instead of $want" }
        check(error.code in want) { "${error.code} instead of $want" }
        return error
    }
}
