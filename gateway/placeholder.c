typedef int gateway_is_empty_so_far;
