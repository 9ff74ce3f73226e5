#include "engine/python_float.h"

#include "tests/unit/unit.h"

static void writes(double value, bool is_float32, const char *expected)
{
    char text[PYTHON_FLOAT_BYTES];
    ck_assert_str_eq(python_float_text(value, is_float32, text), expected);
}

START_TEST(python_float_writes_float32_as_the_number_that_was_meant)
{
    writes((double)0.01f, true, "0.01");
    writes((double)1e-5f, true, "1e-05");
    writes((double)1e-4f, true, "0.0001");
    writes((double)1.5e-7f, true, "1.5e-07");
    writes(1, true, "1.0");
    writes(-2, true, "-2.0");
    writes(20, true, "20.0");
    writes(0, true, "0.0");
    writes(1234.5, true, "1234.5");
    writes(1e15, false, "1000000000000000.0");
    writes(1e16, false, "1e+16");
}
END_TEST

START_TEST(python_float_writes_float64_with_all_its_digits)
{
    writes(0.1, false, "0.1");
    writes(1.0 / 3, false, "0.3333333333333333");
    writes((double)0.1f, false, "0.10000000149011612");
    writes(1.0013580322265625e-05, false, "1.0013580322265625e-05");
}
END_TEST

UNIT_MAIN("engine/python_float", python_float_writes_float32_as_the_number_that_was_meant,
          python_float_writes_float64_with_all_its_digits)
