#include "store/id.h"

bool store_id_parse(str hex, struct store_id *ret_id)
{
    for (size_t i = 0; i < hex.n; i++)
        if (hex.p[i] >= 'A' && hex.p[i] <= 'F')
            return false;
    struct store_id id;
    if (!hex_decode(hex, id.b, sizeof id.b))
        return false;
    *ret_id = id;
    return true;
}
