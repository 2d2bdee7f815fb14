import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.protobuf.Value;
import dev.tocsin.v1.Result;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;

/** The types that these workers run: those that `tocsin conformance` schedules. Yours take their place. */
public interface Handlers {
  /** Runs in a thread of its own, which is interrupted when the attempt should stop. */
  interface Handler {
    Result run(Attempt attempt) throws Exception;
  }

  Map<String, Handler> TYPES = Map.of(
      "conformance.echo", Handlers::echo,
      "conformance.digest", Handlers::digest,
      "conformance.sleep", Handlers::sleep,
      "conformance.fail", Handlers::fail,
      "conformance.release", Handlers::release,
      "conformance.progress", Handlers::progress,
      "conformance.log", Handlers::log);

  static Result echo(Attempt attempt) {
    var spec = attempt.job().getSpec();
    if (spec.hasRaw()) return Result.newBuilder().setRaw(spec.getRaw()).build();
    return Result.newBuilder().setData(Value.newBuilder().setStructValue(spec.getData())).build();
  }

  static Result digest(Attempt attempt) throws Exception {
    var body = attempt.job().getSpec().getRaw().getBody().toByteArray();
    return text(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body)));
  }

  static Result sleep(Attempt attempt) throws InterruptedException {
    Thread.sleep((long) attempt.number("ms"));
    return text("slept");
  }

  static Result fail(Attempt attempt) throws Failure {
    var after = attempt.number("attempts");
    if (after > 0 && attempt.job().getAttempt() > after) return text("at last");
    var fatal = attempt.data().getFieldsOrDefault("final", Value.getDefaultInstance()).getBoolValue();
    throw new Failure(attempt.text("type"), attempt.text("message"), fatal, (long) attempt.number("retry_in_ms"));
  }

  static Result release(Attempt attempt) throws Failure.Release {
    if (attempt.job().getAttempt() == 1) throw new Failure.Release("not now");
    return text("now");
  }

  static Result progress(Attempt attempt) throws InterruptedException {
    var steps = (int) attempt.number("steps");
    for (var step = 1; step <= steps; step++) {
      attempt.progress((double) step / steps, "step " + step + " of " + steps);
      Thread.sleep((long) attempt.number("ms"));
    }
    return text("done");
  }

  static Result log(Attempt attempt) {
    var bytes = (int) attempt.number("bytes");
    for (var line = 1; line <= attempt.number("lines"); line++) {
      var text = "line " + line + " ";
      attempt.log(text + "ö".repeat(Math.max(0, bytes - text.getBytes(UTF_8).length) / 2));
    }
    return text("logged");
  }

  private static Result text(String text) {
    return Result.newBuilder().setData(Value.newBuilder().setStringValue(text)).build();
  }
}
