import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.Timestamps;
import dev.tocsin.v1.Heartbeat;
import dev.tocsin.v1.Job;
import dev.tocsin.v1.LeasedJob;
import dev.tocsin.v1.LogLine;
import dev.tocsin.v1.Outcome;
import dev.tocsin.v1.Progress;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;

/** One run of a job: what its handler is given. */
public final class Attempt {
  private static final ScheduledExecutorService TIMER = Executors.newSingleThreadScheduledExecutor(task -> {
    var thread = new Thread(task, "timeouts");
    thread.setDaemon(true);
    return thread;
  });

  final LeasedJob leased;
  /** Its lease; whoever keeps the attempts notes it here. */
  boolean lost;
  private final Thread thread;
  private final Queue<LogLine> lines = new ArrayDeque<>();
  private Progress progress;
  private Exception stopped;
  private boolean over;

  /** Begins the attempt in a thread of its own, and hands over how it ended. */
  Attempt(LeasedJob leased, BiConsumer<Attempt, Outcome> ended) {
    this.leased = leased;
    thread = new Thread(() -> ended.accept(this, run()), job().getSpec().getType());
  }

  Attempt begin() {
    thread.start();
    if (job().getSpec().hasTimeout()) { // the worker sees to it
      var late = new Failure("TIMEOUT", "it took too long", false, 0);
      TIMER.schedule(() -> stop(late), Durations.toMillis(job().getSpec().getTimeout()), TimeUnit.MILLISECONDS);
    }
    return this;
  }

  ByteString token() {
    return leased.getToken();
  }

  public Job job() {
    return leased.getJob();
  }

  public Struct data() {
    return job().getSpec().getData();
  }

  public double number(String name) {
    return data().getFieldsOrDefault(name, Value.getDefaultInstance()).getNumberValue();
  }

  public String text(String name) {
    return data().getFieldsOrDefault(name, Value.getDefaultInstance()).getStringValue();
  }

  /** How far it is, 0 to 1. Sent with the next heartbeat. */
  public synchronized void progress(double fraction, String message) {
    progress = Progress.newBuilder().setFraction(fraction).setMessage(message).build();
  }

  /** A line of the job's log. Sent with the next heartbeat. */
  public synchronized void log(String text) {
    lines.add(LogLine.newBuilder().setLevel(LogLine.Level.INFO).setText(text).build());
  }

  /** What was said since the last one, at most 1,000 lines of it. */
  synchronized Heartbeat heartbeat() {
    var beat = Heartbeat.newBuilder().setToken(token());
    if (progress != null) beat.setProgress(progress);
    progress = null;
    while (!lines.isEmpty() && beat.getLogCount() < 1000) beat.addLog(lines.remove());
    return beat.build();
  }

  /** All of it, once it has ended: heartbeats that go before its outcome, each in a message of its own. */
  synchronized List<Heartbeat> lastWords() {
    var beats = new ArrayList<Heartbeat>();
    while (progress != null || !lines.isEmpty()) beats.add(heartbeat());
    return beats;
  }

  /** Interrupts the handler, and says why. */
  synchronized void stop(Exception why) {
    if (stopped != null || over) return;
    stopped = why;
    thread.interrupt();
  }

  private Outcome run() {
    var outcome = Outcome.newBuilder().setToken(token());
    try {
      var handler = Handlers.TYPES.get(job().getSpec().getType());
      if (handler == null) throw new Failure("UnknownType", "no handler for " + job().getSpec().getType(), false, 0);
      return outcome.setCompleted(Outcome.Completed.newBuilder().setResult(handler.run(this))).build();
    } catch (Throwable error) {
      synchronized (this) { // why it was stopped, not that it was
        return ended(outcome, stopped != null ? stopped : error).build();
      }
    } finally {
      synchronized (this) {
        over = true;
      }
      Thread.interrupted();
    }
  }

  private static Outcome.Builder ended(Outcome.Builder outcome, Throwable error) {
    if (error instanceof Failure.Release)
      return outcome.setReleased(Outcome.Released.newBuilder().setReason(error.getMessage()));
    var trace = new StringWriter();
    error.printStackTrace(new PrintWriter(trace));
    var failed = Outcome.Failed.newBuilder().setType(error.getClass().getSimpleName())
        .setMessage(String.valueOf(error.getMessage())).setTrace(trace.toString());
    if (error instanceof Failure failure) {
      failed.setType(failure.type).setFinal(failure.fatal);
      if (failure.retryInMs > 0 && !failure.fatal)
        failed.setRetryAt(Timestamps.fromMillis(System.currentTimeMillis() + failure.retryInMs));
    }
    return outcome.setFailed(failed);
  }
}
