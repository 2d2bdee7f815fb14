import com.google.protobuf.ByteString;
import dev.tocsin.v1.ExtendLeasesResponse;
import dev.tocsin.v1.Heartbeat;
import dev.tocsin.v1.LeasedJob;
import dev.tocsin.v1.Outcome;
import dev.tocsin.v1.ReportOutcomesResponse;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * What a worker has: attempts that run, and what no server has acknowledged. It outlives connections. All of it is used
 * in `thread` alone, so nothing is locked.
 */
final class Held {
  final ScheduledExecutorService thread = Executors.newSingleThreadScheduledExecutor();
  private final Map<ByteString, Attempt> attempts = new HashMap<>();
  private final Runnable changed;
  private final List<Heartbeat> words = new ArrayList<>(); // the last of attempts that have ended; before the outcomes
  private final List<Outcome> unsent = new ArrayList<>();
  private final List<Outcome> sent = new ArrayList<>(); // and not acknowledged, in their order
  private int later; // outcomes that wait to be sent once more
  private boolean stopping;

  /** `changed` is run after each `change`, as when an attempt has ended; `stopped` when this process is told to end. */
  Held(Runnable changed, Runnable stopped) {
    this.changed = changed;
    Stop.onSignal(() -> thread.execute(() -> {
      stopping = true;
      thread.schedule(this::giveBack, Settings.GRACE.toSeconds(), TimeUnit.SECONDS);
      stopped.run();
    }));
  }

  private void giveBack() {
    for (var attempt : attempts.values()) attempt.stop(new Failure.Release("the worker shuts down"));
  }

  /** From any thread. */
  void change(Runnable change) {
    thread.execute(() -> {
      change.run();
      changed.run();
    });
  }

  boolean stopping() {
    return stopping;
  }

  /** Whether this process can end. */
  boolean done() {
    return stopping && open() == 0;
  }

  /** How many attempts run. */
  int running() {
    return attempts.size();
  }

  /** How many attempts no server knows the end of. */
  int open() {
    return attempts.size() + unsent.size() + sent.size() + later;
  }

  /** Runs what was leased, and says how many that are: of a lease that it knows, it begins no second attempt. */
  int begin(List<LeasedJob> leased) {
    var before = attempts.size();
    for (var job : leased) attempts.computeIfAbsent(job.getToken(), token -> new Attempt(job, this::ended).begin());
    return attempts.size() - before;
  }

  private void ended(Attempt attempt, Outcome outcome) {
    change(() -> {
      attempts.remove(attempt.token());
      if (!attempt.lost) words.addAll(attempt.lastWords());
      if (!attempt.lost) unsent.add(outcome);
    });
  }

  void cancel(ByteString token, String reason) {
    if (attempts.containsKey(token)) attempts.get(token).stop(new Failure.Release("cancelled: " + reason));
  }

  /** Its outcome would not be taken. Its slot is free once the attempt has ended. */
  void lose(ByteString token) {
    if (!attempts.containsKey(token)) return;
    attempts.get(token).lost = true;
    attempts.get(token).stop(new Failure.Release("its lease was lost"));
  }

  /** One for each lease. */
  List<Heartbeat> heartbeats() {
    return attempts.values().stream().filter(attempt -> !attempt.lost).map(Attempt::heartbeat).toList();
  }

  /** Takes the answers to heartbeats. */
  void extended(List<Heartbeat> heartbeats, List<ExtendLeasesResponse.Result> answers) {
    for (var n = 0; n < answers.size(); n++) {
      if (answers.get(n).hasCancel()) cancel(heartbeats.get(n).getToken(), answers.get(n).getCancel().getReason());
      if (answers.get(n).getLost()) lose(heartbeats.get(n).getToken());
    }
  }

  /** Those of all leases, for a new stream. What the last one did not acknowledge is to be sent again. */
  List<ByteString> tokens() {
    unsent.addAll(0, sent);
    sent.clear();
    return attempts.values().stream().filter(attempt -> !attempt.lost).map(Attempt::token).toList();
  }

  /** Whether something is to be sent. */
  boolean ready() {
    return !unsent.isEmpty();
  }

  /** Last words, each in a message of its own, then outcomes. */
  record Unsent(List<Heartbeat> words, List<Outcome> outcomes) {}

  /** What is to be sent now. */
  Unsent take() {
    var taken = new Unsent(List.copyOf(words), List.copyOf(unsent));
    sent.addAll(unsent);
    words.clear();
    unsent.clear();
    return taken;
  }

  /** Takes the answers to the first outcomes that were sent. */
  void acknowledged(List<ReportOutcomesResponse.Result> answers) {
    for (var answer : answers) {
      var outcome = sent.remove(0);
      var code = Status.fromCodeValue(answer.getError().getCode()).getCode();
      if (code == Status.Code.UNAVAILABLE || code == Status.Code.DEADLINE_EXCEEDED) again(outcome);
      else if (answer.hasError()) System.err.println("an outcome was not taken: " + answer.getError().getMessage());
    }
  }

  private void again(Outcome outcome) {
    later++; // the store is away
    thread.schedule(() -> change(() -> {
      later--;
      unsent.add(outcome);
    }), 1, TimeUnit.SECONDS);
  }
}
