typedef int kube_is_empty_so_far;
