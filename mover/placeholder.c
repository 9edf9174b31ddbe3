typedef int mover_is_empty_so_far;
