typedef int store_is_empty_so_far;
