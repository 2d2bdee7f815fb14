import com.google.protobuf.ByteString;
import com.google.protobuf.util.Durations;
import dev.tocsin.v1.Heartbeat;
import dev.tocsin.v1.Outcome;
import dev.tocsin.v1.ReportOutcomesResponse;
import dev.tocsin.v1.StreamJobsRequest;
import dev.tocsin.v1.StreamJobsResponse;
import dev.tocsin.v1.WorkerServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/** A worker that has everything on one stream: outcomes and credits up, jobs and cancels down. */
public final class StreamWorker {
  private static final StreamJobsRequest GOODBYE =
      StreamJobsRequest.newBuilder().setGoodbye(StreamJobsRequest.Goodbye.getDefaultInstance()).build();

  private final Map<ByteString, Attempt> running = new HashMap<>();
  private final List<Heartbeat> lastWords = new ArrayList<>(); // of attempts that have ended; before the outcomes
  private final List<Outcome> ended = new ArrayList<>(); // not acknowledged; first those that this stream was sent
  private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
  private int sent; // how many these are
  private int again; // outcomes that wait to be sent once more
  private int credits; // to give: one for each attempt that has ended
  private boolean stopping;
  private StreamObserver<StreamJobsRequest> stream; // null: there is none
  private ScheduledFuture<?> heartbeats;

  public static void main(String[] arguments) throws Exception {
    new StreamWorker().run();
  }

  private void run() throws Exception {
    Stop.onSignal(this::stop);
    for (int server = 0, failures = 0; !done(); server++) {
      var begun = System.nanoTime();
      work(Settings.SERVERS[server % Settings.SERVERS.length]);
      failures = System.nanoTime() - begun > 10e9 ? 0 : failures + 1;
      if (!done()) Thread.sleep(Settings.patience(failures));
    }
    Stop.exit();
  }

  /** One stream, from hello to its end. When it is cut, attempts go on, and the next one's hello names them. */
  private void work(String server) throws InterruptedException {
    var channel = Grpc.newChannelBuilder(server, InsecureChannelCredentials.create())
        .keepAliveTime(10, TimeUnit.SECONDS).keepAliveTimeout(5, TimeUnit.SECONDS).build();
    var listener = new Listener();
    synchronized (this) {
      stream = WorkerServiceGrpc.newStub(channel).streamJobs(listener);
      var held = running.values().stream().filter(attempt -> !attempt.lost).map(Attempt::token).toList();
      var hello = StreamJobsRequest.Hello.newBuilder().setWorker(Settings.ME).setLease(Settings.lease())
          .addAsks(Settings.ask()).addAllHeldTokens(held);
      stream.onNext(StreamJobsRequest.newBuilder().setHello(hello).build());
      credits = Settings.CONCURRENCY - running.size(); // those that are lost have their slots still
      sent = 0;
      if (stopping) stream.onNext(GOODBYE);
      flush();
    }
    listener.end.await();
    synchronized (this) {
      stream = null;
    }
    channel.shutdownNow();
  }

  private final class Listener implements StreamObserver<StreamJobsResponse> {
    final CountDownLatch end = new CountDownLatch(1);

    @Override public void onNext(StreamJobsResponse message) {
      hear(message);
      if (message.hasDrain()) end.countDown(); // on to the next server, or to this one when it is back
    }

    @Override public void onError(Throwable error) {
      System.err.println("the stream ended: " + error.getMessage());
      end.countDown();
    }

    @Override public void onCompleted() {
      end.countDown();
    }
  }

  private synchronized void hear(StreamJobsResponse message) {
    if (message.hasWelcome()) { // more often for a while, where there are leases of an earlier stream
      if (heartbeats != null) heartbeats.cancel(false);
      var every = Durations.toMillis(message.getWelcome().getHeartbeatEvery());
      heartbeats = timer.scheduleAtFixedRate(this::heartbeat, every, every, TimeUnit.MILLISECONDS);
    }
    for (var leased : message.getLeasedList())
      running.computeIfAbsent(leased.getToken(), token -> new Attempt(leased, this::ended).begin());
    for (var cancel : message.getCancelsList())
      stop(cancel.getToken(), new Failure.Release("cancelled: " + cancel.getWish().getReason()));
    for (var token : message.getLostList()) {
      if (running.containsKey(token)) running.get(token).lost = true; // its outcome would not be taken
      stop(token, new Failure.Release("its lease was lost"));
    }
    message.getAcksList().forEach(this::acknowledged);
    flush();
  }

  private void stop(ByteString token, Exception why) {
    if (running.containsKey(token)) running.get(token).stop(why);
  }

  private synchronized void ended(Attempt attempt, Outcome outcome) {
    running.remove(attempt.token());
    credits++;
    if (!attempt.lost) lastWords.addAll(attempt.lastWords());
    if (!attempt.lost) ended.add(outcome);
    flush();
  }

  /** The answer to the first of the outcomes that were sent. */
  private void acknowledged(ReportOutcomesResponse.Result answer) {
    var outcome = ended.remove(0);
    sent--;
    if (answer.getError().getCode() == Status.Code.UNAVAILABLE.value()) { // the store is away
      again++;
      timer.schedule(() -> again(outcome), 1, TimeUnit.SECONDS);
    } else if (answer.hasError()) { // the job runs again, or has
      System.err.println("an outcome was not taken: " + answer.getError().getMessage());
    }
  }

  private synchronized void again(Outcome outcome) {
    again--;
    ended.add(outcome);
    flush();
  }

  /** Sends what this stream was not sent yet. */
  private void flush() {
    if (stream == null) return;
    for (var beat : lastWords) stream.onNext(StreamJobsRequest.newBuilder().addHeartbeats(beat).build());
    lastWords.clear();
    var message = StreamJobsRequest.newBuilder().addAllOutcomes(ended.subList(sent, ended.size()));
    if (credits > 0 && !stopping) message.addCredits(StreamJobsRequest.Credit.newBuilder().setN(credits));
    if (message.getOutcomesCount() + message.getCreditsCount() > 0) stream.onNext(message.build());
    sent = ended.size();
    if (!stopping) credits = 0;
    if (done()) stream.onCompleted();
  }

  private synchronized void heartbeat() {
    var message = StreamJobsRequest.newBuilder();
    for (var attempt : running.values()) if (!attempt.lost) message.addHeartbeats(attempt.heartbeat());
    if (stream != null && message.getHeartbeatsCount() > 0) stream.onNext(message.build());
  }

  private synchronized boolean done() {
    return stopping && running.isEmpty() && ended.isEmpty() && again == 0;
  }

  private synchronized void stop() {
    stopping = true;
    if (stream != null) stream.onNext(GOODBYE);
    timer.schedule(this::giveBack, Settings.GRACE.toSeconds(), TimeUnit.SECONDS);
    flush();
  }

  private synchronized void giveBack() {
    for (var attempt : running.values()) attempt.stop(new Failure.Release("the worker shuts down"));
  }
}
