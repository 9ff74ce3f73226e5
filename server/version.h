/* The program's version. */
#ifndef MLPD_SERVER_VERSION_H
#define MLPD_SERVER_VERSION_H

#define MLPD_VERSION "0.1.0"

#endif
