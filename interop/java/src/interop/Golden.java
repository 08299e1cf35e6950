package interop;

import build.buf.protovalidate.Validator;
import build.buf.protovalidate.ValidatorFactory;
import com.gitpod.v1.SecretServiceGrpc;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Checks the vectors of a folder with protobuf-java and protovalidate-java; the README of the folder says what they
 * have. It prints a line for the messages and one for the rules: library, what was checked, codecs and result, with
 * tabs between them.
 *
 * <p>The folder is the argument, or ../golden.
 */
public final class Golden {
  private interface Check {
    void run(JsonObject vector) throws Exception;
  }

  private final Validator validator = ValidatorFactory.newBuilder().build();
  private final Map<String, Message> types = new HashMap<>(); // an empty message by the name of its type

  private Golden() {
    for (MethodDescriptor<?, ?> method : SecretServiceGrpc.getServiceDescriptor().getMethods()) {
      for (var marshaller : List.of(method.getRequestMarshaller(), method.getResponseMarshaller())) {
        Message empty = (Message) ((PrototypeMarshaller<?>) marshaller).getMessagePrototype();
        types.put(empty.getDescriptorForType().getFullName(), empty);
      }
    }
  }

  public static void main(String[] arguments) throws IOException {
    Path folder = Path.of(arguments.length > 0 ? arguments[0] : "../golden");
    Golden golden = new Golden();
    String messages = check(folder.resolve("messages.json"), golden::checkMessage);
    System.out.printf("protobuf-java\tgolden messages\tbinary+json\t%s%n", messages);
    String rules = check(folder.resolve("rules.json"), golden::checkRules);
    System.out.printf("protovalidate-java\tgolden rules\tjson\t%s%n", rules);
  }

  /** Returns "ok", or what differs in the first vector that does, and how many do. */
  private static String check(Path file, Check check) throws IOException {
    JsonArray vectors = JsonParser.parseString(Files.readString(file)).getAsJsonArray();
    List<String> failures = new ArrayList<>();
    for (JsonElement each : vectors) {
      JsonObject vector = each.getAsJsonObject();
      try {
        check.run(vector);
      } catch (Exception error) {
        failures.add(vector.get("name").getAsString() + ": " + error.getMessage());
      }
    }
    if (vectors.isEmpty()) {
      return "no vectors";
    }
    return failures.isEmpty() ? "ok" : failures.size() + " of " + vectors.size() + " differ: " + failures.get(0);
  }

  /** Reads and writes a message in each of its forms. */
  private void checkMessage(JsonObject vector) throws InvalidProtocolBufferException {
    ByteString want = fromBinary(vector, vector.get("binary")).toByteString();
    for (JsonElement form : forms(vector, "json", "other_json")) {
      if (!fromJson(vector, form).toByteString().equals(want)) {
        throw new IllegalStateException("json: has another binary form");
      }
    }
    for (JsonElement form : forms(vector, "binary", "other_binary")) {
      String json = JsonFormat.printer().print(fromBinary(vector, form));
      if (!JsonParser.parseString(json).equals(vector.get("json"))) {
        throw new IllegalStateException("binary: has another JSON form");
      }
    }
  }

  /** Reads an input and looks for the rules that it breaks. */
  private void checkRules(JsonObject vector) throws Exception {
    List<String> found = Rules.broken(validator.validate(fromJson(vector, vector.get("json"))).toProto());
    List<String> want = vector.getAsJsonArray("violations").asList().stream().map(JsonElement::getAsString).toList();
    if (!found.equals(want)) {
      throw new IllegalStateException("breaks " + found);
    }
  }

  private static List<JsonElement> forms(JsonObject vector, String one, String others) {
    List<JsonElement> found = new ArrayList<>(List.of(vector.get(one)));
    if (vector.has(others)) {
      found.addAll(vector.getAsJsonArray(others).asList());
    }
    return found;
  }

  private Message fromBinary(JsonObject vector, JsonElement form) throws InvalidProtocolBufferException {
    return builder(vector).mergeFrom(Base64.getDecoder().decode(form.getAsString())).build();
  }

  private Message fromJson(JsonObject vector, JsonElement form) throws InvalidProtocolBufferException {
    Message.Builder read = builder(vector);
    JsonFormat.parser().merge(form.toString(), read);
    return read.build();
  }

  private Message.Builder builder(JsonObject vector) {
    Message empty = types.get(vector.get("type").getAsString());
    if (empty == null) {
      throw new IllegalStateException("no RPC has this type");
    }
    return empty.newBuilderForType();
  }
}
