"""What watches over a server: Prometheus and KEDA, as they ask."""
