import com.google.protobuf.util.Durations;
import dev.tocsin.v1.Heartbeat;
import dev.tocsin.v1.StreamJobsRequest;
import dev.tocsin.v1.StreamJobsResponse;
import dev.tocsin.v1.WorkerServiceGrpc;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/** A worker that has everything on one stream: outcomes and credits up, jobs and cancels down. */
public final class StreamWorker implements StreamObserver<StreamJobsResponse> {
  private final Held held = new Held(this::soon, this::goodbye);
  private StreamObserver<StreamJobsRequest> stream; // null: there is none
  private ScheduledFuture<?> heartbeats;
  private int given; // credits that no job has come for
  private boolean due; // what ended is about to be sent
  private int server, failures;
  private long begun;

  public static void main(String[] arguments) {
    var worker = new StreamWorker();
    worker.held.thread.execute(worker::connect);
  }

  /** Begins a stream. When it is cut, attempts go on, and the next one's hello names them. */
  private void connect() {
    begun = System.nanoTime();
    stream = WorkerServiceGrpc.newStub(Settings.channel(server++)).streamJobs(this);
    stream.onNext(StreamJobsRequest.newBuilder().setHello(StreamJobsRequest.Hello.newBuilder().setWorker(Settings.ME)
        .setLease(Settings.lease()).addAsks(Settings.ask()).addAllHeldTokens(held.tokens())).build());
    given = 0;
    if (held.stopping()) goodbye();
    else say(List.of());
  }

  @Override public void onNext(StreamJobsResponse message) {
    held.thread.execute(() -> hear(message));
  }

  @Override public void onError(Throwable error) {
    System.err.println("the stream ended: " + error.getMessage());
    onCompleted();
  }

  @Override public void onCompleted() {
    held.thread.execute(() -> {
      stream = null;
      if (heartbeats != null) heartbeats.cancel(false);
      if (held.done()) Stop.exit(); // else on to the next server, in a while
      failures = System.nanoTime() - begun > 10e9 ? 0 : failures + 1;
      held.thread.schedule(this::connect, Settings.patience(failures), TimeUnit.MILLISECONDS);
    });
  }

  private void hear(StreamJobsResponse message) {
    if (message.hasWelcome()) { // more often for a while, where there are leases of an earlier stream
      if (heartbeats != null) heartbeats.cancel(false);
      var every = Durations.toMillis(message.getWelcome().getHeartbeatEvery());
      heartbeats = held.thread.scheduleAtFixedRate(() -> say(held.heartbeats()), every, every, TimeUnit.MILLISECONDS);
    }
    given -= held.begin(message.getLeasedList());
    for (var cancel : message.getCancelsList()) held.cancel(cancel.getToken(), cancel.getWish().getReason());
    message.getLostList().forEach(held::lose);
    held.acknowledged(message.getAcksList());
    if (message.hasDrain() && stream != null) {
      stream.onError(new Exception("the server shuts down"));
      stream = null;
    } else if (held.done()) {
      say(List.of());
    }
  }

  /** An attempt has ended. What ends meanwhile goes along. */
  private void soon() {
    if (!due) held.thread.schedule(() -> say(List.of()), 1, TimeUnit.MILLISECONDS);
    due = true;
  }

  private void goodbye() {
    var goodbye = StreamJobsRequest.newBuilder().setGoodbye(StreamJobsRequest.Goodbye.getDefaultInstance());
    if (stream != null) stream.onNext(goodbye.build());
    say(List.of());
  }

  /** Sends what this stream was not sent yet. */
  private void say(List<Heartbeat> beats) {
    due = false;
    if (stream == null) return;
    var unsent = held.take();
    for (var beat : unsent.words()) stream.onNext(StreamJobsRequest.newBuilder().addHeartbeats(beat).build());
    var message = StreamJobsRequest.newBuilder().addAllHeartbeats(beats).addAllOutcomes(unsent.outcomes());
    var free = held.stopping() ? 0 : Settings.CONCURRENCY - held.running() - given;
    if (free > 0) message.addCredits(StreamJobsRequest.Credit.newBuilder().setN(free));
    given += free;
    stream.onNext(message.build());
    if (held.done()) stream.onCompleted();
    if (held.done()) stream = null;
  }
}
