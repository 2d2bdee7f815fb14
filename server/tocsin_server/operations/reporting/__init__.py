"""What a queue did over a window of time: figures of the jobs that ended in it and still stand."""
