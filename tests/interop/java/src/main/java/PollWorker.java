import com.google.protobuf.ByteString;
import dev.tocsin.v1.ExtendLeasesRequest;
import dev.tocsin.v1.Heartbeat;
import dev.tocsin.v1.LeaseJobsRequest;
import dev.tocsin.v1.Outcome;
import dev.tocsin.v1.ReportOutcomesRequest;
import io.grpc.Status;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** A worker of plain calls: a long poll for jobs, and calls for heartbeats and outcomes. */
public final class PollWorker {
  private final Map<ByteString, Attempt> running = new ConcurrentHashMap<>();
  private final Semaphore slots = new Semaphore(Settings.CONCURRENCY); // until a server knows how an attempt ended
  private final Calls calls = new Calls();
  private volatile boolean stopping;

  public static void main(String[] arguments) throws Exception {
    new PollWorker().run();
  }

  private void run() throws Exception {
    var polls = Thread.currentThread();
    Stop.onSignal(() -> {
      stopping = true;
      polls.interrupt();
    });
    var timer = Executors.newSingleThreadScheduledExecutor();
    long every = Settings.LEASE.toMillis() / 3;
    timer.scheduleAtFixedRate(this::heartbeat, every, every, TimeUnit.MILLISECONDS);
    try {
      while (!stopping) poll();
    } catch (InterruptedException stopped) { // a call that waits is cancelled, and leases nothing
      Thread.interrupted();
    }
    timer.schedule(this::giveBack, Settings.GRACE.toSeconds(), TimeUnit.SECONDS);
    slots.acquire(Settings.CONCURRENCY);
    Stop.exit();
  }

  /** Waits for jobs, as many as slots are free. */
  private void poll() throws InterruptedException {
    slots.acquire();
    slots.release(); // one is free
    var request = LeaseJobsRequest.newBuilder().setWorker(Settings.ME).setLease(Settings.lease())
        .addAsks(Settings.ask().setMaxJobs(slots.availablePermits()))
        .setRequestId(UUID.randomUUID().toString()).build(); // the same jobs again where the answer was lost
    for (var leased : calls.make(30_000, client -> client.leaseJobs(request)).getJobsList())
      running.computeIfAbsent(leased.getToken(), token -> {
        slots.acquireUninterruptibly();
        return new Attempt(leased, this::report).begin();
      });
  }

  private void heartbeat() {
    try {
      if (!running.isEmpty()) extend(running.values().stream().map(Attempt::heartbeat).toList());
    } catch (InterruptedException | RuntimeException error) {
      System.err.println("a heartbeat failed: " + error.getMessage()); // the next one may be heard
    }
  }

  private void extend(List<Heartbeat> beats) throws InterruptedException {
    var request = ExtendLeasesRequest.newBuilder().setWorker(Settings.ME).setLease(Settings.lease())
        .addAllHeartbeats(beats).build();
    var results = calls.once(Settings.LEASE.toMillis() / 4, client -> client.extendLeases(request)).getResultsList();
    for (var n = 0; n < results.size(); n++) {
      var attempt = running.get(beats.get(n).getToken());
      if (attempt == null) continue;
      var result = results.get(n);
      if (result.hasCancel()) attempt.stop(new Failure.Release("cancelled: " + result.getCancel().getReason()));
      attempt.lost = result.getLost(); // its outcome would not be taken
      if (attempt.lost) attempt.stop(new Failure.Release("its lease was lost"));
    }
  }

  /** Tells how an attempt ended until a server has heard it. */
  private void report(Attempt attempt, Outcome outcome) {
    try {
      for (var beat : attempt.lastWords()) calls.make(10_000, client -> client.extendLeases(ExtendLeasesRequest
          .newBuilder().setWorker(Settings.ME).setLease(Settings.lease()).addHeartbeats(beat).build()));
      running.remove(attempt.token());
      var request = ReportOutcomesRequest.newBuilder().setWorker(Settings.ME).addOutcomes(outcome).build();
      for (var again = !attempt.lost; again; ) {
        var answer = calls.make(10_000, client -> client.reportOutcomes(request)).getResults(0);
        if (answer.hasError()) System.err.println("an outcome was not taken: " + answer.getError().getMessage());
        again = answer.getError().getCode() == Status.Code.UNAVAILABLE.value(); // the store is away
        if (again) Thread.sleep(1000);
      }
    } catch (InterruptedException error) {
      System.err.println("interrupted while it reported an outcome");
    } finally {
      slots.release();
    }
  }

  private void giveBack() {
    for (var attempt : running.values()) attempt.stop(new Failure.Release("the worker shuts down"));
  }
}
