#version 330 core
// One quad per instance: a tile, the preview or the exact frame, cut to the field's edge.

uniform vec2 u_viewport;   // device pixels
uniform vec4 u_field;      // the field on the screen: left, top, right, bottom; device pixels
uniform vec2 u_inner;      // size of the image without its apron, texels
uniform float u_apron;     // texels on each side
uniform vec2 u_texture;    // size of the whole texture, texels; the image begins at its corner

in vec2 in_corner;         // (0, 0) to (1, 1)
in vec4 in_rect;           // left, top, right, bottom; device pixels
in vec2 in_layer_alpha;

out vec3 v_uvw;
flat out float v_alpha;

void main() {
    vec2 wanted = mix(in_rect.xy, in_rect.zw, in_corner);
    vec2 at = clamp(wanted, u_field.xy, u_field.zw);
    vec2 inside = (at - in_rect.xy) / (in_rect.zw - in_rect.xy);
    v_uvw = vec3((inside * u_inner + u_apron) / u_texture, in_layer_alpha.x);
    v_alpha = in_layer_alpha.y;
    vec2 clip = at / u_viewport * 2.0 - 1.0;
    gl_Position = vec4(clip.x, -clip.y, 0.0, 1.0);
}
