#include "engine/onnx_layers.h"

#include "engine/onnx_tensor.h"
#include "tests/unit/unit.h"

static void writes(double value, int32_t type, const char *expected)
{
    char text[32];
    ck_assert_str_eq(onnx_layers_python_float(value, type, text), expected);
}

START_TEST(onnx_layers_write_float32_as_python_writes_the_number_that_was_meant)
{
    writes((double)0.01f, ONNX_FLOAT, "0.01");
    writes((double)1e-5f, ONNX_FLOAT, "1e-05");
    writes((double)1e-4f, ONNX_FLOAT, "0.0001");
    writes((double)1.5e-7f, ONNX_FLOAT, "1.5e-07");
    writes(1, ONNX_FLOAT, "1.0");
    writes(-2, ONNX_FLOAT, "-2.0");
    writes(20, ONNX_FLOAT, "20.0");
    writes(0, ONNX_FLOAT, "0.0");
    writes(1234.5, ONNX_FLOAT, "1234.5");
    writes(1e15, ONNX_DOUBLE, "1000000000000000.0");
    writes(1e16, ONNX_DOUBLE, "1e+16");
}
END_TEST

START_TEST(onnx_layers_write_float64_with_all_its_digits)
{
    writes(0.1, ONNX_DOUBLE, "0.1");
    writes(1.0 / 3, ONNX_DOUBLE, "0.3333333333333333");
    writes((double)0.1f, ONNX_DOUBLE, "0.10000000149011612");
    writes(1.0013580322265625e-05, ONNX_DOUBLE, "1.0013580322265625e-05");
}
END_TEST

UNIT_MAIN("engine/onnx_layers", onnx_layers_write_float32_as_python_writes_the_number_that_was_meant,
          onnx_layers_write_float64_with_all_its_digits)
