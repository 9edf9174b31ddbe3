typedef int gitops_is_empty_so_far;
