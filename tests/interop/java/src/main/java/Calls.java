import dev.tocsin.v1.WorkerServiceGrpc;
import dev.tocsin.v1.WorkerServiceGrpc.WorkerServiceBlockingStub;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Plain calls to one of several servers. */
final class Calls {
  /** One call of the worker's service. */
  interface Call<A> {
    A make(WorkerServiceBlockingStub client);
  }

  private final List<ManagedChannel> channels = Arrays.stream(Settings.SERVERS)
      .map(server -> Grpc.newChannelBuilder(server, InsecureChannelCredentials.create()).build()).toList();
  private final List<WorkerServiceBlockingStub> clients =
      channels.stream().map(WorkerServiceGrpc::newBlockingStub).toList();
  private final AtomicInteger current = new AtomicInteger(); // the server to call: the next one after each failure

  /**
   * Makes a call, each time with a deadline, until a server answers. All calls of a worker may be made again: the same
   * outcome twice is OK, and so is a heartbeat. A thread that is interrupted cancels its call.
   */
  <A> A make(long deadlineMs, Call<A> call) throws InterruptedException {
    for (var failures = 1; ; failures++) {
      try {
        return once(deadlineMs, call);
      } catch (StatusRuntimeException error) {
        System.err.println("a call failed: " + error.getMessage());
        Thread.sleep(Settings.patience(failures));
        channels.forEach(ManagedChannel::resetConnectBackoff); // which grows to two minutes else
      }
    }
  }

  /** Makes a call once. */
  <A> A once(long deadlineMs, Call<A> call) throws InterruptedException {
    var server = current.get();
    try {
      var client = clients.get(server % clients.size());
      return call.make(client.withDeadlineAfter(deadlineMs, TimeUnit.MILLISECONDS));
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() == Status.Code.CANCELLED && Thread.interrupted()) throw new InterruptedException();
      current.compareAndSet(server, server + 1);
      throw error;
    }
  }
}
