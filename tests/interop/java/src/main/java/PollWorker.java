import dev.tocsin.v1.ExtendLeasesRequest;
import dev.tocsin.v1.ExtendLeasesResponse;
import dev.tocsin.v1.Heartbeat;
import dev.tocsin.v1.LeaseJobsRequest;
import dev.tocsin.v1.LeaseJobsResponse;
import dev.tocsin.v1.ReportOutcomesRequest;
import dev.tocsin.v1.WorkerServiceGrpc;
import dev.tocsin.v1.WorkerServiceGrpc.WorkerServiceBlockingStub;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;

/** A worker of plain calls, each in a thread of its own: a long poll for jobs, heartbeats, outcomes. */
public final class PollWorker {
  private final Held held = new Held(this::look, this::stopped);
  private final AtomicInteger current = new AtomicInteger(); // the server to call: the next one after each failure
  private Thread poll; // null: none is under way
  private boolean reports;

  public static void main(String[] arguments) {
    var worker = new PollWorker();
    worker.held.thread.scheduleAtFixedRate(worker::beat, 0, Settings.LEASE.toMillis() / 3, TimeUnit.MILLISECONDS);
    worker.held.thread.execute(worker::look);
  }

  private void beat() {
    var beats = held.heartbeats();
    if (!beats.isEmpty()) new Thread(() -> extend(beats)).start();
  }

  /** Makes the calls that are wanted, after each change. */
  private void look() {
    var free = Settings.CONCURRENCY - held.open();
    if (poll == null && held.done()) Stop.exit();
    if (poll == null && free > 0 && !held.stopping()) {
      poll = new Thread(() -> poll(free));
      poll.start();
    }
    if (!reports && held.ready()) {
      reports = true;
      var unsent = held.take();
      new Thread(() -> report(unsent)).start();
    }
  }

  private void stopped() {
    if (poll != null) poll.interrupt(); // its call is cancelled, and leases nothing
    look();
  }

  private void poll(int free) {
    var request = LeaseJobsRequest.newBuilder().setWorker(Settings.ME).setLease(Settings.lease())
        .addAsks(Settings.ask().setMaxJobs(free))
        .setRequestId(UUID.randomUUID().toString()).build(); // the same jobs again where the answer was lost
    var none = LeaseJobsResponse.getDefaultInstance();
    var leased = call(30_000, Integer.MAX_VALUE, none, client -> client.leaseJobs(request)).getJobsList();
    held.change(() -> {
      poll = null;
      held.begin(leased);
    });
  }

  private void extend(List<Heartbeat> beats) {
    var request = ExtendLeasesRequest.newBuilder().setWorker(Settings.ME).setLease(Settings.lease())
        .addAllHeartbeats(beats).build();
    var none = ExtendLeasesResponse.getDefaultInstance(); // the next one may be heard
    var answers = call(Settings.LEASE.toMillis() / 6, 2, none, client -> client.extendLeases(request)).getResultsList();
    held.change(() -> held.extended(beats, answers));
  }

  private void report(Held.Unsent unsent) {
    for (var beat : unsent.words()) extend(List.of(beat));
    var request = ReportOutcomesRequest.newBuilder().setWorker(Settings.ME).addAllOutcomes(unsent.outcomes()).build();
    var answer = call(10_000, Integer.MAX_VALUE, null, client -> client.reportOutcomes(request));
    held.change(() -> {
      reports = false;
      held.acknowledged(answer.getResultsList());
    });
  }

  /** Makes a call until a server answers. Any may be made again: an outcome said twice is OK, and so is a heartbeat. */
  private <A> A call(long deadlineMs, int tries, A none, Function<WorkerServiceBlockingStub, A> call) {
    for (var failures = 1; failures <= tries && !Thread.currentThread().isInterrupted(); failures++) {
      var server = current.get();
      try {
        var client = WorkerServiceGrpc.newBlockingStub(Settings.channel(server));
        return call.apply(client.withDeadlineAfter(deadlineMs, TimeUnit.MILLISECONDS));
      } catch (StatusRuntimeException error) {
        System.err.println("a call failed: " + error.getMessage());
        current.compareAndSet(server, server + 1);
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(Settings.patience(failures)));
      }
    }
    return none;
  }
}
