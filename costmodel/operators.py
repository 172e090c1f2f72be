"""Names of operators by what they do, for the cost model."""

VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "OptionalGetElement", "Optional")
SHAPES = ("Shape", "Size", "SequenceConstruct", "SequenceEmpty", "SequenceLength", "SequenceAt", "OptionalHasElement")
PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QLinearMatMul", "QGemm", "MatMulNBits", "MatMulBnb4",
            "MatMulIntegerToFloat", "DynamicQuantizeMatMul")  # fmt: skip
CONVOLUTIONS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv", "ConvTranspose", "DeformConv", "ChannelsLastConv",
                "ChannelsLastConvTranspose")  # fmt: skip
ATTENTIONS = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention")
NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization",
                  "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization", "InstanceNormalization", "GroupNormalization",
                  "BatchNormalization", "MeanVarianceNormalization", "LpNormalization", "LRN", "ChannelsLastLRN")  # fmt: skip
SOFTMAXES = ("Softmax", "LogSoftmax", "QLinearSoftmax", "Hardmax")
REDUCTIONS = ("ArgMax", "ArgMin", "CumSum", "CumProd", "TopK", "Unique", "NonZero", "Compress", "NonMaxSuppression", "MaxPool",
              "AveragePool", "LpPool", "NhwcMaxPool", "QLinearAveragePool", "QLinearGlobalAveragePool", "GlobalAveragePool",
              "GlobalMaxPool", "GlobalLpPool", "ChannelsLastMaxPool", "ChannelsLastAveragePool", "ChannelsLastLpPool")  # fmt: skip
MOVEMENTS = ("Transpose", "Concat", "Split", "Slice", "Gather", "GatherElements", "GatherND", "GatherBlockQuantized", "ScatterElements",
             "ScatterND", "TensorScatter", "Pad", "Tile", "Expand", "DepthToSpace", "SpaceToDepth", "ChannelsLastDepthToSpace",
             "ChannelsLastSpaceToDepth", "Resize", "ChannelsLastResize", "ReverseSequence", "OneHot", "EyeLike", "ConstantOfShape", "Range",
             "Trilu", "QLinearConcat", "Col2Im", "CenterCropPad", "MaxUnpool", "ConcatFromSequence", "SplitToSequence",
             "SequenceInsert", "SequenceErase", "GridSample", "ChannelsLastGridSample", "AffineGrid", "RoiAlign", "MaxRoiPool",
             "ReorderInput", "ReorderOutput", "Upsample")  # fmt: skip
QUANTIZATIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
CONTROL = ("If", "Loop", "Scan", "SequenceMap")
BLOCKED = "com.microsoft.nchwc"  # the layout of ONNX Runtime's convolutions
