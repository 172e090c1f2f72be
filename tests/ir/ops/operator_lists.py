"""The operators that several tests of this folder go through."""

from __future__ import annotations

MATHEMATICS = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor IsInf IsNaN Log Neg Not BitwiseNot Reciprocal Round
    Sign Sin Sinh Sqrt Tan Tanh Det Identity Celu Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Shrink
    Sigmoid Softplus Softsign Swish SwiGLU ThresholdedRelu Clip Hardmax Add Sub Mul Div Mod Pow Max Min Mean Sum BitShift
    BitwiseAnd BitwiseOr BitwiseXor And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Where
""".split()
CASTS = ["Cast", "CastLike", "BitCast"]
REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    ArgMax ArgMin CumSum CumProd Softmax LogSoftmax LpNormalization BlackmanWindow HammingWindow HannWindow MelWeightMatrix
    NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss
""".split()
QUANTISATION = """
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear MatMulInteger ConvInteger QLinearMatMul QLinearConv
""".split()
RANDOM = "Dropout Bernoulli RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial".split()
