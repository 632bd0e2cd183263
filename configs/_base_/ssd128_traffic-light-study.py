# The traffic-light detector for images of 128 px and lights of 10 to 32 px, with SSD's own head. It
# trains within minutes on a CPU. At this size every strided layer reads its padding on one side only.
_base_ = './ssdlite256_traffic-light.py'

input_size = 128
model = dict(
    bbox_head=dict(
        use_depthwise=False,
        anchor_generator=dict(
            ratios=[[2]] * 5,
            min_sizes=[6, 10, 17, 28, 50],
            max_sizes=[10, 17, 28, 50, 80],
        ),
    ),
    # Anchors with an IoU from 0.2 to 0.4 are ignored; without them, learning starts earlier.
    train_cfg=dict(assigner=dict(neg_iou_thr=0.2)),
)

data_root = 'data/traffic_lights_study/'
# Without random transforms, an interrupted training resumes to the same weights.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
# A small batch, since learning starts after a number of steps, whatever the batch size.
train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
