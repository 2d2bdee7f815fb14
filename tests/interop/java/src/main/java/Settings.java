import dev.tocsin.v1.LeaseAsk;
import dev.tocsin.v1.Worker;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** What the environment says, for both workers and the client. */
public interface Settings {
  String[] SERVERS = setting("TOCSIN_SERVER", "localhost:50051").split(",");
  String QUEUE = setting("TOCSIN_QUEUE", "default");
  int CONCURRENCY = Integer.parseInt(setting("TOCSIN_CONCURRENCY", "10"));
  Duration LEASE = Duration.parse("PT" + setting("TOCSIN_LEASE", "30s"));
  /** How long attempts may go on once the worker is told to stop; then they are given back. */
  Duration GRACE = Duration.ofSeconds(25);

  /** This process: a name that no other has. */
  Worker ME = Worker.newBuilder().setName("example-java-" + host() + "-" + ProcessHandle.current().pid())
      .setVersion("1.0.0").setLanguage("java").build();

  List<ManagedChannel> CHANNELS = Arrays.stream(SERVERS)
      .map(server -> Grpc.newChannelBuilder(server, InsecureChannelCredentials.create())
          .keepAliveTime(10, TimeUnit.SECONDS).keepAliveTimeout(5, TimeUnit.SECONDS).build()).toList();

  /** To the next server with each number. */
  static ManagedChannel channel(int number) {
    var channel = CHANNELS.get(number % CHANNELS.size());
    channel.resetConnectBackoff(); // which grows to two minutes else
    return channel;
  }

  static com.google.protobuf.Duration lease() {
    return com.google.protobuf.Duration.newBuilder().setSeconds(LEASE.toSeconds()).build();
  }

  static LeaseAsk.Builder ask() {
    return LeaseAsk.newBuilder().setQueue(QUEUE).addAllTypes(Handlers.TYPES.keySet());
  }

  /** How long to wait before the next server is tried: 0.2 s at first, 5 s at most. */
  static long patience(int failures) {
    return Math.min(200L << Math.min(failures, 5), 5000);
  }

  private static String setting(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException error) {
      return "unknown";
    }
  }
}
