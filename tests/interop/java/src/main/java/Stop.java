/** SIGTERM and Ctrl-C: the JVM ends once its shutdown hook returns, with an exit code of 143 unless it is halted. */
public final class Stop {
  private static final Object ENDED = new Object();
  private static boolean over;

  private Stop() {}

  static void onSignal(Runnable stop) {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      stop.run();
      synchronized (ENDED) {
        while (!over) {
          try {
            ENDED.wait();
          } catch (InterruptedException error) {
            return;
          }
        }
      }
      Runtime.getRuntime().halt(0);
    }));
  }

  static void exit() {
    synchronized (ENDED) {
      over = true;
      ENDED.notifyAll();
    }
  }
}
