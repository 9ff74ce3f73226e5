#include <stdio.h>

#include "server/version.h"

int main(void)
{
    return puts("mlpd " MLPD_VERSION) < 0;
}
