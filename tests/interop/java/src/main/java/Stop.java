import java.util.concurrent.CountDownLatch;

/** SIGTERM and Ctrl-C: the JVM ends once its shutdown hook returns, with an exit code of 143 unless it is halted. */
final class Stop {
  private static final CountDownLatch ENDED = new CountDownLatch(1);

  private Stop() {}

  static void onSignal(Runnable stop) {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      stop.run();
      try {
        ENDED.await();
      } catch (InterruptedException error) {
        return;
      }
      Runtime.getRuntime().halt(0);
    }));
  }

  static void exit() {
    ENDED.countDown();
  }
}
