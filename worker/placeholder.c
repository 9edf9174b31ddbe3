typedef int worker_is_empty_so_far;
