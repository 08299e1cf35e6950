package interop;

import build.buf.validate.FieldPath;
import build.buf.validate.FieldPathElement;
import build.buf.validate.Violations;
import java.util.List;
import java.util.stream.Collectors;

/** Writes the rules that a request breaks as text. */
final class Rules {
  private Rules() {}

  /** Returns the path of each field and the id of its rule, in order: {@code filter.project_ids[2] string.uuid}. */
  static List<String> broken(Violations violations) {
    return violations.getViolationsList().stream()
        .map(each -> path(each.getField()) + " " + each.getRuleId())
        .sorted()
        .toList();
  }

  private static String path(FieldPath field) {
    return field.getElementsList().stream().map(Rules::name).collect(Collectors.joining("."));
  }

  private static String name(FieldPathElement element) {
    return element.getFieldName() + (element.hasIndex() ? "[" + element.getIndex() + "]" : "");
  }
}
